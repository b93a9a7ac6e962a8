// Keeps the part of a page that changes up to date. Without scripts a page shows what was true when it was loaded.
"use strict";

(() => {
  const live = document.getElementById("live");
  if (!live || live.childElementCount === 0) return;

  // What identifies an element across two versions of the page.
  const nameOf = (element) => element.id || element.getAttribute("href") || element.getAttribute("name");
  const named = (selector, name) => [...live.querySelectorAll(selector)].find((one) => nameOf(one) === name);

  const update = (html) => {
    const open = new Set([...live.querySelectorAll("details[open]")].map((one) => one.id));
    const scrolled = [...live.querySelectorAll("pre")].map((one) => [one.id, one.scrollTop]);
    const held = live.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    const place = scrollY;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    for (const one of fresh.content.querySelectorAll("details")) one.open = open.has(one.id);
    live.replaceChildren(fresh.content);
    for (const [id, top] of scrolled) {
      const again = named("pre", id);
      if (again) again.scrollTop = top;
    }
    if (held !== null) named("a, button, summary, details, input, pre", held)?.focus({ preventScroll: true });
    scrollTo({ top: place, behavior: "instant" });
  };

  let source = null;

  const stale = () => {
    live.removeAttribute("data-live");
    if (document.getElementById("stale")) return;
    const notice = document.createElement("p");
    notice.id = "stale";
    notice.className = "problem";
    notice.setAttribute("role", "alert");
    const again = document.createElement("a");
    again.href = location.href;
    again.textContent = "Load it anew";
    notice.append("This page is no longer live: the session has ended, or the lab. ", again);
    live.before(notice);
  };

  const listen = () => {
    if (source) return;
    const page = location.pathname + location.search;
    source = new EventSource("/admin/live?page=" + encodeURIComponent(page));
    source.onmessage = (event) => {
      // What somebody marks with the mouse is not taken from under it.
      if (getSelection().isCollapsed || !live.contains(getSelection().anchorNode)) update(event.data);
    };
    source.onopen = () => live.setAttribute("data-live", "yes");
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) stale();
    };
  };

  const rest = () => {
    if (source) source.close();
    source = null;
  };

  // Browsers open few connections to a host: a page that nobody sees leaves its own to those that are seen.
  addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  addEventListener("pagehide", rest);
  if (!document.hidden) listen();
})();
