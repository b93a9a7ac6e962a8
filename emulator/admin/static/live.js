// Keeps the part of a page that changes up to date. Without scripts a page shows what was true when it was loaded.
"use strict";

(() => {
  const live = document.getElementById("live");
  if (!live || live.childElementCount === 0) return;

  // What identifies an element across two versions of the page.
  const nameOf = (element) => element.id || element.getAttribute("href") || element.getAttribute("name");

  const update = (html) => {
    const open = new Set([...live.querySelectorAll("details[open]")].map((one) => one.id));
    const held = live.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    for (const one of fresh.content.querySelectorAll("details")) one.open = open.has(one.id);
    live.replaceChildren(fresh.content);
    if (held === null) return;
    const again = [...live.querySelectorAll("a, button, summary, details, input")].find((one) => nameOf(one) === held);
    if (again) again.focus({ preventScroll: true });
  };

  const page = location.pathname + location.search;
  const source = new EventSource("/admin/live?page=" + encodeURIComponent(page));
  source.onmessage = (event) => {
    // What somebody marks with the mouse is not taken from under it.
    if (getSelection().isCollapsed || !live.contains(getSelection().anchorNode)) update(event.data);
  };
  source.onopen = () => live.setAttribute("data-live", "yes");
  addEventListener("pagehide", () => source.close());
})();
