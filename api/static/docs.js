// Shows the OpenAPI document; every text is set as text, never as markup.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

// Text in which `this` is code.
function prose(text) {
  return element("span", {}, ...text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part)));
}

function example(value) {
  return value === undefined ? null : element("pre", {}, element("code", {}, shown(value)));
}

function schemaName(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return element("a", { href: `#schema-${name}` }, name);
  }
  if (schema.type === "array") return element("span", {}, "list of ", schemaName(schema.items));
  const several = schema.anyOf || schema.oneOf;
  if (several) {
    const parts = several.map(schemaName).flatMap((part, index) => (index ? [" or ", part] : [part]));
    return element("span", {}, ...parts);
  }
  if (schema.const !== undefined) return shown(schema.const);
  return [].concat(schema.type || "any").join(" or ") + (schema.format ? ` (${schema.format})` : "");
}

function table(headings, rows) {
  if (!rows.length) return null;
  const head = element("tr", {}, ...headings.map((heading) => element("th", { scope: "col" }, heading)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell ?? ""))));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}

function parameters(operation) {
  const rows = (operation.parameters || []).map((parameter) => {
    const choices = parameter.schema.items?.enum || parameter.schema.enum;
    return [
      element("code", {}, parameter.name),
      schemaName(parameter.schema),
      prose([parameter.description, choices ? `One of ${choices.join(", ")}.` : ""].filter(Boolean).join(" ")),
    ];
  });
  return table(["Parameter", "Type", "Meaning"], rows);
}

function body(operation) {
  const content = operation.requestBody?.content;
  if (!content) return null;
  const parts = Object.entries(content).map(([type, { schema, example: given }]) =>
    element("details", {}, element("summary", {}, element("code", {}, type), " ", schemaName(schema)), example(given)));
  return element("section", {}, element("h4", {}, "Body"), ...parts);
}

function answerExamples(content) {
  if (content.example !== undefined) return [example(content.example)];
  return Object.values(content.examples || {}).map(({ value }) => example(value));
}

function answers(operation) {
  const parts = Object.entries(operation.responses).map(([status, { description, content }]) => {
    const [type, told] = Object.entries(content)[0];
    const kind = `status s${status[0]}`;
    const summary = element("summary", {}, element("b", { class: kind }, status), ` ${description} `, schemaName(told.schema));
    return element("details", {}, summary, element("p", { class: "soft" }, type), ...answerExamples(told));
  });
  return element("section", {}, element("h4", {}, "Answers"), ...parts);
}

function operationCard(path, method, operation) {
  const scope = operation.security?.[0]?.key?.[0];
  return element(
    "article", { id: operation.operationId },
    element("h3", {}, operation.summary),
    element("p", { class: "address" }, element("b", {}, method.toUpperCase()), " ", path),
    element("p", {}, prose(operation.description || "")),
    element("p", { class: "soft" }, scope ? `Needs a key with the scope ${scope}.` : "Needs no key."),
    parameters(operation), body(operation), answers(operation),
  );
}

function schemaCard(name, schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([field, inner]) => [
    element("code", {}, field), schemaName(inner), prose((required.has(field) ? "Required. " : "") + (inner.description || "")),
  ]);
  return element("article", { id: `schema-${name}` },
    element("h3", {}, name), element("p", {}, prose((schema.description || "").replaceAll("``", "`"))), table(["Field", "Type", "Meaning"], rows));
}

function problems(kinds) {
  const rows = kinds.map(({ name, status, title, meaning }) => [
    element("code", {}, `/problems/${name}`), String(status), element("span", {}, element("b", {}, title), ". ", prose(meaning)),
  ]);
  return element("article", { id: "problems" }, element("h3", {}, "Problems"), table(["Type", "Status", "Meaning"], rows));
}

function group(contents, name, links) {
  contents.append(element("h2", {}, name));
  contents.append(element("ul", {}, ...links.map(([id, text]) => element("li", {}, element("a", { href: `#${id}` }, text)))));
}

function render(api) {
  document.getElementById("claim").textContent = api.info.description;
  const cards = [];
  const byTag = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      cards.push(operationCard(path, method, operation));
      const tag = operation.tags[0];
      byTag.set(tag, [...(byTag.get(tag) || []), [operation.operationId, operation.summary]]);
    }
  }
  const schemas = Object.entries(api.components.schemas);
  cards.push(problems(api["x-problems"]), ...schemas.map(([name, schema]) => schemaCard(name, schema)));
  const contents = document.getElementById("contents");
  for (const [tag, links] of byTag) group(contents, tag, links);
  group(contents, "Shapes", [["problems", "Problems"], ...schemas.map(([name]) => [`schema-${name}`, name])]);
  document.getElementById("operations").replaceChildren(...cards);
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

render(await (await fetch("/openapi.json")).json());
