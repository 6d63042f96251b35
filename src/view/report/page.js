// Makes the page handier. Everything is on it without this.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const rows = () => [...document.querySelectorAll(".rows li")];
  const shown = () => rows().filter((row) => !row.hidden);
  document.querySelector(".controls").hidden = false;

  // One step is looked at: in the graph, the timeline and the table at once.
  let on = null;
  const look = (index) => {
    for (const kind of ["g", "t", "s"]) {
      $(kind + on)?.classList.remove("is-on");
      $(kind + index)?.classList.add("is-on");
    }
    rows().forEach((row) => (row.tabIndex = -1));
    if ($("t" + index)) $("t" + index).tabIndex = 0;
    on = index;
  };
  const of = (element) => element?.closest("[id]")?.id.slice(1);

  document.querySelector(".rows").addEventListener("keydown", (event) => {
    const all = shown();
    const at = all.indexOf(event.target.closest("li"));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1, PageDown: at + 20, PageUp: at - 20 }[event.key];
    if (event.key === "Enter") {
      $("s" + of(event.target)).scrollIntoView({ block: "center" });
      $("s" + of(event.target)).focus({ preventScroll: true });
    } else if (to !== undefined && all.length) {
      event.preventDefault();
      all[Math.max(0, Math.min(all.length - 1, to))].focus();
    }
  });
  document.querySelector(".rows").addEventListener("focusin", (event) => look(of(event.target.closest("li"))));
  document.querySelector(".rows").addEventListener("click", (event) => event.target.closest("li")?.focus());
  $("graph").addEventListener("click", (event) => {
    const node = event.target.closest(".node");
    if (!node) return;
    look(of(node));
    $("t" + of(node))?.scrollIntoView({ block: "nearest" });
  });
  document.querySelector(".steps").addEventListener("focusin", (event) => {
    const row = event.target.closest("tr[id]");
    if (row) look(of(row));
  });

  // Filter, order and zoom.
  $("filter").addEventListener("input", () => {
    const wanted = $("filter").value.trim().toLowerCase();
    rows().forEach((row) => {
      const text = row.querySelector(".name").textContent + " " + row.querySelector(".vh").textContent.split(",")[0];
      row.hidden = !text.toLowerCase().includes(wanted);
      $("s" + of(row)).hidden = row.hidden;
      const used = $("u" + of(row));
      if (used) used.hidden = row.hidden || !used.cells.length; // without cells it has not run
    });
    first();
  });
  $("order").addEventListener("change", () => {
    const by = { p: (row) => +of(row), b: (row) => +row.dataset.b, r: (row) => -row.dataset.r }[$("order").value];
    document.querySelector(".rows").append(...rows().sort((one, other) => by(one) - by(other) || of(one) - of(other)));
    first();
  });
  $("zoom").addEventListener("input", () => $("timeline").style.setProperty("--zoom", $("zoom").value));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      $("filter").focus();
    }
  });

  // Exactly one row can be reached with the tab key.
  const first = () => {
    const all = shown();
    if (all.length && !all.some((row) => row.tabIndex === 0)) {
      rows().forEach((row) => (row.tabIndex = -1));
      all[0].tabIndex = 0;
    }
  };
  first();

  // A live page: the server sends the parts that have changed, whole.
  const put = (id, html) => {
    const old = $(id);
    if (!old) return;
    if (old.querySelector("button:active")) return setTimeout(() => put(id, html), 200); // somebody is pressing it
    const box = document.createElement({ TR: "tbody", LI: "ol" }[old.tagName] ?? "div");
    box.innerHTML = html;
    const fresh = box.firstElementChild;
    const focused = old.contains(document.activeElement);
    const verb = focused && document.activeElement.dataset.verb;
    if (/^[ts]\d/.test(id)) {
      fresh.hidden = old.hidden;
      fresh.tabIndex = old.tabIndex;
      fresh.classList.toggle("is-on", old.classList.contains("is-on"));
    }
    if (/^u\d/.test(id)) fresh.hidden ||= $("t" + id.slice(1)).hidden; // it is filtered out
    const opened = [...old.querySelectorAll("details")].map((details) => details.open);
    fresh.querySelectorAll("details").forEach((details, index) => (details.open = opened[index] ?? false));
    old.replaceWith(fresh);
    const button = verb && fresh.querySelector(`[data-verb="${verb}"]`);
    if (focused) (button || fresh).focus({ preventScroll: true });
  };
  const feed = document.body.dataset.events;
  if (feed) {
    const source = new EventSource(feed);
    source.onopen = () => ($("live").textContent = "live: brought up to date once a second");
    source.onerror = () => ($("live").textContent = "the connection is lost: tried again");
    source.onmessage = (event) => {
      const { total, parts } = JSON.parse(event.data);
      $("timeline").style.setProperty("--t", total);
      Object.entries(parts).forEach(([id, html]) => put(id, html));
      if ("picture" in parts && on !== null) $("g" + on)?.classList.add("is-on");
      document.title = document.title.replace(/^\S+/, document.querySelector(".outcome").textContent.trim().split(" ").pop());
    };
    source.addEventListener("end", () => {
      source.close();
      $("live").textContent = "the run has ended";
    });
  }
})();
