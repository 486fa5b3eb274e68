// The page is whole without this: it adds the filter, a sign at what is cut, and opens everything for the printer.
"use strict";
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

const form = document.querySelector("form[role=search]"), input = form.elements.filter, found = form.querySelector("output");
const articles = all("article"), links = new Map(all(".index li").map(item => [item.querySelector("a").hash.slice(1), item]));
function choose() {
  const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const article of articles) {
    article.hidden = !wanted.every(word => article.dataset.words.includes(word));
    links.get(article.id).hidden = article.hidden;
  }
  for (const section of all("#theorems > section")) section.hidden = !section.querySelector("article:not([hidden])");
  for (const row of all(".index tbody tr")) row.hidden = !row.querySelector("li:not([hidden])");
  const left = articles.filter(article => !article.hidden).length;
  found.textContent = wanted.length ? `${left} of ${articles.length}` : "";
}
input.addEventListener("input", choose);
form.addEventListener("submit", event => event.preventDefault());
form.hidden = false;
choose();

const cut = frame => frame.classList.toggle("cut", frame.scrollWidth > frame.clientWidth + 1);
const watch = new ResizeObserver(entries => entries.forEach(entry => cut(entry.target)));
all(".scroll, .formula").forEach(frame => watch.observe(frame));

let folded = [];
addEventListener("beforeprint", () => { folded = all("details:not([open])"); folded.forEach(part => { part.open = true; }); });
addEventListener("afterprint", () => folded.forEach(part => { part.open = false; }));
