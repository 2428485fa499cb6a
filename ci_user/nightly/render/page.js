"use strict";
// Everything here makes the page shorter to look at; what it says is all there without it. It makes no element from a text.
document.documentElement.classList.add("scripted");

document.addEventListener("DOMContentLoaded", () => {
  const overview = document.getElementById("overview");
  const table = document.querySelector(".fleet");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const title = document.title;
  let chosen = null;
  let place = 0;

  // The hash chooses the page: an environment's, or the overview.

  function show(moveFocus) {
    let hash = location.hash.slice(1);
    try {
      hash = decodeURIComponent(hash);
    } catch {
      // An address may end in anything.
    }
    const target = document.getElementById(hash);
    const section = target && target.closest(".environment");
    if (!chosen && section) place = scrollY;
    if (chosen) chosen.classList.remove("chosen");
    const before = chosen;
    chosen = section;
    overview.hidden = Boolean(section);
    if (section) {
      section.classList.add("chosen");
      const heading = section.querySelector("h2");
      document.title = heading.firstChild.data.trim() + " · " + title;
      if (moveFocus) heading.focus({ preventScroll: true });
      if (target === section) scrollTo(0, 0);
      else target.scrollIntoView();
      return;
    }
    document.title = title;
    if (!before) return;
    const link = body.querySelector('a[href="#' + CSS.escape(before.id) + '"]');
    if (link && !link.closest("tr").hidden) link.focus({ preventScroll: true });
    else document.getElementById("fleet").focus({ preventScroll: true });
    scrollTo(0, place);
  }

  addEventListener("hashchange", () => show(true));
  show(false);

  // The skip link may not take the chosen environment out of the address.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    (chosen ? chosen.querySelector("h2") : document.getElementById("content")).focus();
  });

  // Filters.

  const input = document.getElementById("filter");
  const buttons = Array.from(document.querySelectorAll(".verdicts button"));
  const shown = document.getElementById("shown");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  let verdict = "";

  function filter() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let number = 0;
    for (const row of rows) {
      const fits = (!verdict || row.dataset.verdict === verdict) && words.every((word) => texts.get(row).includes(word));
      row.hidden = !fits;
      number += fits;
    }
    const every = rows.length.toLocaleString("en");
    shown.textContent = number === rows.length ? every + " shown" : number.toLocaleString("en") + " of " + every + " shown";
  }

  input.addEventListener("input", filter);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      verdict = button.dataset.verdict;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      filter();
    });
  }
  document.querySelector(".controls").hidden = false;
  filter();

  // Sorting.

  const order = new Intl.Collator("en", { numeric: true });
  const heads = Array.from(table.tHead.rows[0].cells);

  function key(row, column) {
    const cell = row.cells[column];
    return cell.dataset.sort ?? cell.textContent;
  }

  function sort(column, falling) {
    const keys = new Map(rows.map((row) => [row, key(row, column)]));
    const name = new Map(rows.map((row) => [row, key(row, 0)]));
    const turn = falling ? -1 : 1;
    rows.sort((a, b) => turn * order.compare(keys.get(a), keys.get(b)) || order.compare(name.get(a), name.get(b)));
    body.append(...rows);
    heads.forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(column, head.getAttribute("aria-sort") === "ascending"));
    head.replaceChildren(button);
  });

  // On a phone the rows are cards. Cards are no table-like boxes, and some screen readers then forget that it is a table.

  const roles = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };
  for (const one of [table, ...table.querySelectorAll("thead, tbody, tr, td, th")]) {
    one.setAttribute("role", roles[one.tagName] ?? (one.scope === "col" ? "columnheader" : "rowheader"));
  }

  // What is folded is printed too.

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = Array.from((chosen || overview).querySelectorAll("details:not([open])"));
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
  });
});
