// Keeps ages such as "3 min ago" current. The pages work without this file.
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
  setInterval(refresh, 1000);
  document.addEventListener("htmx:afterSwap", refresh);
})();
