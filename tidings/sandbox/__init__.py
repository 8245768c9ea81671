"""The sandbox: a stand-in for mail, text message and webhook providers that shows what arrived."""
