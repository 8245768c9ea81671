const pulse = document.getElementById("pulse");
document.getElementById("origin").textContent = location.origin;

async function ask() {
  try {
    const answer = await fetch("/health/ready");
    const told = await answer.json();
    pulse.textContent = answer.ok ? "ready" : told.detail;
    pulse.className = answer.ok ? "pulse good" : "pulse bad";
  } catch {
    pulse.textContent = "no answer";
    pulse.className = "pulse bad";
  }
}

ask();
setInterval(ask, 5000);
