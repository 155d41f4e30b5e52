// Locust's tables show only text. This turns the addresses in the column "Log lines" into links, named by their trace id.
// React keeps updating the text, so it stays in its cell, hidden, and the link is placed beside it.
const address = /^http:\/\/localhost:\d+\/d\/trace-logs\?var-trace_id=([\w.-]+)&/;

function showLink(cell) {
  const text = [...cell.childNodes].find((node) => node.nodeType === Node.TEXT_NODE)?.data ?? "";
  const traceId = address.exec(text)?.[1];
  let link = cell.querySelector(":scope > a");
  if (!traceId) {
    if (link) {
      link.remove();
      cell.removeAttribute("style");
    }
    return;
  }
  if (!link) {
    link = document.createElement("a");
    link.target = "_blank";
    link.rel = "noopener";
    link.style.cssText = "color: inherit; font: 0.875rem monospace; user-select: text";
    cell.style.cssText = "font-size: 0; user-select: none";
    cell.append(link);
  }
  if (link.getAttribute("href") !== text) {
    link.href = text;
    link.textContent = traceId;
  }
}

function showLinks() {
  if (new URLSearchParams(location.search).get("tab") === "slowest-requests") {
    document.querySelectorAll("td:last-child").forEach(showLink);
  }
}

new MutationObserver(showLinks).observe(document.body, { characterData: true, childList: true, subtree: true });
