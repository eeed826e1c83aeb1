
"use strict";
(() => {
  const COLUMNS = ["sheet", "pair", "annotator", "label", "shown_first"];
  const LABELS = ["a", "b", "tie", "skip"];
  const { sheet, seed, pairs } = JSON.parse(document.getElementById("sheet-data").textContent);
  const byId = new Map(pairs.map((pair) => [pair.pair, pair]));
  const at = (id) => document.getElementById(id);
  let annotator = "";
  let order = [];
  let place = 0;
  let labels = {};
  let saved = true;

  // Orders and sides follow from the annotator's name, so they are the same after a reload and in another browser.
  function hash(text) {
    let value = 0x811c9dc5;
    for (let index = 0; index < text.length; index++) {
      value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
    }
    value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
    value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
    return (value ^ (value >>> 16)) >>> 0;
  }
  const folded = (name) => name.normalize("NFKC").trim().replace(/\s+/g, " ").toLowerCase();
  const keyed = (purpose, pair) => hash([purpose, seed, sheet, folded(annotator), pair.pair].join("\n"));
  const shownFirst = (pair) => (keyed("side", pair) & 1 ? "b" : "a");
  const storageKey = () => `modecollapse/labels/${sheet}/${folded(annotator)}`;

  // The annotator may label in another tab, too: of what is not given here and now, what is remembered counts.
  function remember(given) {
    saved = false;
    labels = { ...labels, ...remembered(), ...given };
    try {
      localStorage.setItem(storageKey(), JSON.stringify(labels));
    } catch {
      say("This browser keeps nothing: save your labels as CSV before you close the page.");
    }
  }

  function remembered() {
    try {
      const found = JSON.parse(localStorage.getItem(storageKey()) || "{}");
      return Object.fromEntries(
        Object.entries(found).filter(([pair, each]) => byId.has(pair) && LABELS.includes(each.label)),
      );
    } catch {
      return {};
    }
  }

  function session(name) {
    try {
      if (name === undefined) return sessionStorage.getItem(`modecollapse/annotator/${sheet}`) || "";
      sessionStorage.setItem(`modecollapse/annotator/${sheet}`, name);
    } catch {
      // The name is entered anew then.
    }
    return name || "";
  }

  function say(text) {
    at("message").textContent = text;
  }

  function begin(name) {
    annotator = name.normalize("NFC").trim();
    if (!annotator) return;
    if (!pairs.length) return say("This sheet has no pairs: there is nothing to label.");
    session(annotator);
    labels = remembered();
    order = [...pairs].sort((one, other) => keyed("order", one) - keyed("order", other) || (one.pair < other.pair ? -1 : 1));
    place = Math.max(0, order.findIndex((pair) => !(pair.pair in labels)));
    at("start").hidden = true;
    at("work").hidden = false;
    say("");
    show();
  }

  function show() {
    const pair = order[place];
    const first = shownFirst(pair);
    at("request").textContent = `Request ${place + 1} of ${pairs.length}`;
    at("prompt").textContent = pair.prompt;
    at("left").textContent = first === "a" ? pair.a : pair.b;
    at("right").textContent = first === "a" ? pair.b : pair.a;
    at("back").disabled = place === 0;
    at("next").disabled = place === order.length - 1;
    showLabels();
    at("request").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }

  function showLabels() {
    const done = Object.keys(labels).length;
    at("counted").textContent = `${annotator}: ${done} of ${pairs.length} pairs labelled`;
    at("progress").max = pairs.length;
    at("progress").value = done;
    at("unlabelled").disabled = done === pairs.length;
    const pair = order[place];
    const given = labels[pair.pair];
    for (const button of document.querySelectorAll("#choices button")) {
      const label = toLabel(button.dataset.choice, shownFirst(pair));
      button.setAttribute("aria-pressed", String(Boolean(given) && label === given.label));
    }
  }

  function toLabel(choice, first) {
    if (choice === "left") return first;
    if (choice === "right") return first === "a" ? "b" : "a";
    return choice;
  }

  function choose(choice) {
    const pair = order[place];
    const first = shownFirst(pair);
    say("");
    remember({ [pair.pair]: { label: toLabel(choice, first), shown_first: first } });
    if (!toUnlabelled()) {
      show();
      say("All pairs are labelled. Save your labels as CSV and hand the file over.");
    }
  }

  function toUnlabelled() {
    for (let step = 1; step <= order.length; step++) {
      const next = (place + step) % order.length;
      if (!(order[next].pair in labels)) {
        place = next;
        show();
        return true;
      }
    }
    return false;
  }

  function move(step) {
    const next = place + step;
    if (next < 0 || next >= order.length) return;
    place = next;
    show();
  }

  const quoted = (value) => (/[",;\r\n\t]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

  function exported() {
    const rows = order
      .filter((pair) => pair.pair in labels)
      .map((pair) => [sheet, pair.pair, annotator, labels[pair.pair].label, labels[pair.pair].shown_first || ""]);
    return "\ufeff" + [COLUMNS, ...rows].map((row) => row.map(quoted).join(",") + "\r\n").join("");
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([exported()], { type: "text/csv;charset=utf-8" }));
    link.download = `labels-${sheet}-${annotator.replace(/[^\p{L}\p{N}._-]+/gu, "_")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    saved = true;
    say(`${Object.keys(labels).length} labels saved as ${link.download}.`);
  }

  function parsed(text) {
    const content = text.replace(/^\ufeff/, "");
    const header = content.split("\n", 1)[0];
    const delimiter = [",", ";", "\t"].reduce((best, each) =>
      header.split(each).length > header.split(best).length ? each : best,
    );
    const rows = [[""]];
    let inside = false;
    for (let index = 0; index < content.length; index++) {
      const letter = content[index];
      const row = rows[rows.length - 1];
      if (inside && letter === '"' && content[index + 1] === '"') {
        row[row.length - 1] += letter;
        index++;
      } else if (letter === '"' && (inside || row[row.length - 1] === "")) {
        inside = !inside;
      } else if (!inside && letter === delimiter) {
        row.push("");
      } else if (!inside && letter === "\n") {
        rows.push([""]);
      } else if (inside || letter !== "\r") {
        row[row.length - 1] += letter;
      }
    }
    return rows.filter((row) => row.some((value) => value.trim()));
  }

  function restore(text) {
    const [names, ...rows] = parsed(text);
    const column = (name) => names.findIndex((each) => each.trim().toLowerCase() === name);
    if (!names || COLUMNS.slice(0, 4).some((name) => column(name) < 0)) {
      return `This file has not the columns ${COLUMNS.slice(0, 4).join(", ")}. Choose a CSV that was saved here.`;
    }
    const found = {};
    for (const row of rows) {
      const value = (name) => (row[column(name)] || "").trim();
      const label = value("label").toLowerCase();
      if (!label) continue;
      if (value("sheet") !== sheet) return `This file is of the sheet ${value("sheet")}, and this one is ${sheet}.`;
      if (!byId.has(value("pair"))) return `This sheet has no pair ${value("pair")}.`;
      if (folded(value("annotator")) !== folded(annotator)) return `These labels are ${value("annotator")}'s, not yours.`;
      if (!LABELS.includes(label)) return `${label} is no label. Allowed: ${LABELS.join(", ")}.`;
      const shown = value("shown_first").toLowerCase();
      found[value("pair")] = { label, shown_first: ["a", "b"].includes(shown) ? shown : "" };
    }
    remember(found);
    place = Math.max(0, order.findIndex((pair) => !(pair.pair in labels)));
    show();
    return `${Object.keys(found).length} labels read.`;
  }

  at("sheet-name").textContent = `Sheet ${sheet}, ${pairs.length} pairs`;
  at("start").addEventListener("submit", (event) => {
    event.preventDefault();
    begin(at("annotator").value);
  });
  for (const button of document.querySelectorAll("#choices button")) {
    button.addEventListener("click", () => choose(button.dataset.choice));
  }
  at("back").addEventListener("click", () => move(-1));
  at("next").addEventListener("click", () => move(1));
  at("unlabelled").addEventListener("click", toUnlabelled);
  at("export").addEventListener("click", save);
  at("leave").addEventListener("click", () => {
    session("");
    annotator = "";
    at("annotator").value = "";
    at("work").hidden = true;
    at("start").hidden = false;
    say("");
    at("annotator").focus();
  });
  at("import").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) say(restore(await file.text()));
    event.target.value = "";
  });
  document.addEventListener("keydown", (event) => {
    if (at("work").hidden || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target instanceof HTMLInputElement) return;
    const choices = { 1: "left", 2: "right", 3: "tie", 4: "skip", ArrowLeft: "left", ArrowRight: "right" };
    const moves = { p: () => move(-1), n: () => move(1), u: toUnlabelled };
    if (event.key in choices) choose(choices[event.key]);
    else if (event.key.toLowerCase() in moves) moves[event.key.toLowerCase()]();
    else return;
    event.preventDefault();
  });
  window.addEventListener("storage", (event) => {
    if (!annotator || event.key !== storageKey()) return;
    labels = { ...labels, ...remembered() };
    showLabels();
  });
  window.addEventListener("beforeunload", (event) => {
    if (!saved && Object.keys(remembered()).length < Object.keys(labels).length) event.preventDefault();
  });
  if (session()) begin(session());
})();
