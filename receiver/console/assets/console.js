// Ages go on while a page stays open. Everything else works without this file.
"use strict";
(() => {
  const words = (s) =>
    s < 60 ? `${Math.round(s)} s` : s < 3600 ? `${Math.round(s / 60)} min` :
    s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
  const refresh = () => {
    for (const age of document.querySelectorAll("[data-age]")) {
      const apart = (Date.now() - Date.parse(age.closest("time").dateTime)) / 1000;
      const said = Math.abs(apart) < 1 ? "now" :
        apart > 0 ? `${words(apart)} ago` : `in ${words(-apart)}`;
      if (age.textContent !== said) age.textContent = said;
    }
  };
  setInterval(refresh, 1000);
  document.addEventListener("htmx:afterSwap", refresh);
})();
