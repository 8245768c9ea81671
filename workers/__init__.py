"""The delivery pipeline: claim, fold, render, send, record."""
