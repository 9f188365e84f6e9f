// Keeps the parts of a page as the server has them. Without it the page is as true, and stands still.
"use strict";
(() => {
  const from = document.body.dataset.live;
  if (!from || !window.EventSource) return;
  const link = document.getElementById("link");
  const source = new EventSource(from);
  source.onopen = () => { link.textContent = "; live"; };
  source.onerror = () => { link.textContent = "; not live: the server does not answer"; };
  source.onmessage = (event) => {
    const part = JSON.parse(event.data);
    const old = document.getElementById(part.id);
    if (!old || old.contains(document.activeElement)) return; // nobody loses his place
    old.innerHTML = part.html;
  };
  addEventListener("pagehide", () => source.close());
})();
