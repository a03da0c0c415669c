// Keeps ages such as "3 min ago" current, tells local times, and says when a page is out of date.
// The pages work without this file.
"use strict";
(() => {
  const duration = (s) =>
    s < 60 ? `${Math.round(s)} s` : s < 3600 ? `${Math.round(s / 60)} min` :
    s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
  const refresh = () => {
    for (const age of document.querySelectorAll("[data-age]")) {
      const seconds = (Date.now() - Date.parse(age.closest("time").dateTime)) / 1000;
      const text = Math.abs(seconds) < 1 ? "now" :
        seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
      if (age.textContent !== text) age.textContent = text;
    }
  };
  const localTime = (text) => {
    const at = new Date(text);
    return Number.isNaN(at.valueOf()) ? "" :
      at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  };
  // A pointer on a time shows it in the zone of the browser.
  const tellLocal = () => {
    for (const time of document.querySelectorAll("time")) {
      time.title = `${localTime(time.dateTime)} your time`;
    }
    for (const hint of document.querySelectorAll("[data-local]")) {
      const value = document.getElementById(hint.dataset.local).value;
      hint.textContent = value ? `; ${localTime(`${value}Z`)} your time` : "";
    }
  };
  const update = () => { refresh(); tellLocal(); };
  setInterval(refresh, 1000);
  document.addEventListener("htmx:afterSwap", update);
  document.addEventListener("input", tellLocal);
  update();
  // A live part waits while somebody writes in it.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const part = event.detail.target;
    if (!part.matches("[data-live]")) return;
    const fields = [...part.querySelectorAll("input:not([type=hidden])")];
    if (fields.some((field) => field.value || field === document.activeElement)) {
      event.detail.shouldSwap = false;
    }
  });
  // The address of a search has only what is asked.
  document.querySelector("form.find")?.addEventListener("submit", (event) => {
    for (const field of event.target.elements) if (!field.value) field.disabled = true;
  });
  // A live part that is not answered says so.
  const stale = (isStale) => (event) => {
    const part = event.target.closest?.("[data-live]");
    if (part) part.classList.toggle("stale", isStale);
  };
  document.addEventListener("htmx:sendError", stale(true));
  document.addEventListener("htmx:responseError", stale(true));
  document.addEventListener("htmx:beforeOnLoad", stale(false));
  for (const all of document.querySelectorAll("[data-choose-all]")) {
    all.hidden = false;
    all.addEventListener("click", () => {
      const boxes = [...document.querySelectorAll("td.choose input")];
      const on = !boxes.every((box) => box.checked);
      for (const box of boxes) box.checked = on;
    });
  }
})();
