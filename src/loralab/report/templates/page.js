// Draws every figure of the page from the description that stands in it.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  const options = { actions: false, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" } };

  const added = (parent, kind, text = "", name = "") => {
    const made = document.createElement(kind);
    made.textContent = text;
    if (name) made.className = name;
    parent.append(made);
    return made;
  };

  // A legend's columns follow from the width, but its room is what they took at the width before: once more, then.
  const layOut = (view) => view.resize().runAsync();
  const views = new Map(); // by the place where they are drawn
  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => views.forEach(layOut), 100); // milliseconds, in which Vega has taken the new width
  });

  const draw = async (place, panel) => {
    try {
      const { view } = await vegaEmbed(place, panel.spec, options);
      views.set(place, view);
      await layOut(view);
    } catch (error) {
      place.textContent = `Not drawn: ${error.message}`;
    }
  };

  const drawAll = (room, panels) => {
    room.classList.toggle("many", panels.length > 1);
    for (const panel of panels) {
      const place = added(room, "div", "", "panel");
      added(place, "p", panel.titles.join(", "), "title");
      draw(added(place, "div", "", "chart"), panel);
    }
  };

  const drawChosen = (room, choices, panels) => {
    const form = added(room, "div");
    const place = added(room, "div", "", "chart");
    const selects = choices.map((name, position) => {
      const label = added(form, "label", `${name} `, "choice");
      const select = added(label, "select");
      for (const title of new Set(panels.map((panel) => panel.titles[position]))) added(select, "option", title);
      return select;
    });
    const redraw = () => {
      const titles = selects.map((select) => select.value);
      const panel = panels.find((one) => one.titles.every((title, position) => title === titles[position]));
      if (panel) draw(place, panel); else place.textContent = "Not measured.";
    };
    for (const select of selects) select.addEventListener("change", redraw);
    redraw();
  };

  for (const figure of document.querySelectorAll("figure[data-figure]")) {
    const room = added(figure, "div", "", "panels");
    try {
      const { choices, panels } = JSON.parse(figure.querySelector("script").textContent);
      if (choices.length) drawChosen(room, choices, panels); else drawAll(room, panels);
    } catch (error) {
      room.textContent = `Not drawn: ${error.message}`; // the other figures are
    }
  }
})();
