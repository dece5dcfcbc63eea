// Keeps a page as live state is: each section names the kinds it shows and is fetched
// anew when one of them changes. Without this script the page is whole, only not live.
"use strict";
(() => {
  const pulse = document.getElementById("pulse");
  const waiting = new Map(); // section id -> timer
  const running = new Set(); // ids being fetched
  const again = new Set(); // ids that changed while being fetched

  const sections = () => document.querySelectorAll("section[data-watch]");

  async function refresh(id) {
    if (running.has(id)) {
      again.add(id);
      return;
    }
    running.add(id);
    try {
      const url = new URL(location.href);
      url.searchParams.set("section", id);
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      const section = document.getElementById(id);
      if (answer.ok && section) {
        put(section, await answer.text());
      }
    } catch {
      // The stream notices that the server is away, and all is fetched when it is back.
    } finally {
      running.delete(id);
      if (again.delete(id)) refresh(id);
    }
  }

  // put shows new content, keeping what the reader had opened or closed.
  function put(section, html) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const before = section.querySelectorAll("details");
    if (before.length) {
      const states = new Map([...before].map((d) => [d.querySelector("summary").textContent.replace(/[^·]*$/, ""), d.open]));
      for (const d of fresh.content.querySelectorAll("details")) {
        d.open = states.get(d.querySelector("summary").textContent.replace(/[^·]*$/, "")) ?? d.open;
      }
    }
    tick(fresh.content);
    const holder = document.createElement("div");
    holder.append(fresh.content.cloneNode(true));
    if (holder.innerHTML === section.innerHTML) return;
    section.replaceChildren(fresh.content);
    section.classList.remove("fresh");
    void section.offsetWidth; // so that the animation begins anew
    section.classList.add("fresh");
  }

  function soon(id) {
    if (waiting.has(id)) return;
    waiting.set(id, setTimeout(() => {
      waiting.delete(id);
      refresh(id);
    }, 60));
  }

  function changed(kind, project) {
    for (const s of sections()) {
      const mine = s.dataset.project;
      if (mine && project && mine !== project && kind !== "images") continue;
      if (s.dataset.watch.split(" ").includes(kind)) soon(s.id);
    }
  }

  // tick tells ages in the words that the server uses.
  function tick(root) {
    for (const t of root.querySelectorAll("time[datetime]")) {
      const text = age((Date.now() - Date.parse(t.getAttribute("datetime"))) / 1000) + " ago";
      if (t.textContent !== text) t.textContent = text;
    }
  }

  function age(s) {
    s = Math.max(0, Math.floor(s));
    const m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    if (s < 120) return s + "s";
    if (m < 10) return m + "m" + (s % 60 ? (s % 60) + "s" : "");
    if (m < 180) return m + "m";
    if (h < 8) return h + "h" + (m % 60 ? (m % 60) + "m" : "");
    if (h < 48) return h + "h";
    if (d < 8) return d + "d" + (h % 24 ? (h % 24) + "h" : "");
    return d + "d";
  }

  // follow shows a log as it is written.
  async function follow(pre) {
    try {
      const answer = await fetch(pre.dataset.follow);
      if (!answer.ok) return;
      const reader = answer.body.getReader(), text = new TextDecoder();
      let begun = false;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const end = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
        if (!begun) {
          pre.textContent = "";
          begun = true;
        }
        pre.append(text.decode(value, { stream: true }));
        while (pre.childNodes.length > 5000) pre.firstChild.remove();
        if (end) pre.scrollTop = pre.scrollHeight;
      }
    } catch {
      // What was shown stays.
    }
  }

  const stream = new EventSource("/events");
  stream.addEventListener("ready", () => {
    pulse.hidden = false;
    pulse.classList.remove("away");
    pulse.lastElementChild.textContent = "live";
    for (const s of sections()) if (s.dataset.watch) soon(s.id);
  });
  stream.addEventListener("change", (e) => {
    const what = JSON.parse(e.data);
    changed(what.kind, what.project);
  });
  stream.addEventListener("error", () => {
    pulse.hidden = false;
    pulse.classList.add("away");
    pulse.lastElementChild.textContent = "away";
  });
  addEventListener("pagehide", () => stream.close());

  tick(document);
  setInterval(() => tick(document), 5000);
  for (const pre of document.querySelectorAll("pre[data-follow]")) follow(pre);
  for (const pre of document.querySelectorAll("pre.log")) pre.scrollTop = pre.scrollHeight;
})();
