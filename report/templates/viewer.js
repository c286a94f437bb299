"use strict";
// Draws the page's figures with plotly.js and moves them with the time slider.
(async () => {
  const $ = (id) => document.getElementById(id);
  const unpack = async (id) => {
    const packed = await fetch(`data:;base64,${$(id).textContent.trim()}`);
    return new Response(packed.body.pipeThrough(new DecompressionStream("deflate")));
  };
  // First the page, then the library that draws on it.
  if (document.readyState !== "complete")
    await new Promise((resolve) => addEventListener("load", resolve, { once: true }));
  await new Promise((resolve) => setTimeout(resolve, 30));
  const library = document.createElement("script");
  library.textContent = await (await unpack("plotly")).text();
  document.head.append(library);
  const content = await (await unpack("figures")).json();
  const figures = content.figures, viewer = content.viewer;
  const buffer = viewer ? await (await unpack("frames")).arrayBuffer() : null;

  // --- figures -------------------------------------------------------------------------------
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Set();
  const theme = (layout) => {
    const style = getComputedStyle(document.documentElement);
    const value = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: value("--line"), zerolinecolor: value("--line"),
      linecolor: value("--muted"), automargin: true };
    const patch = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: value("--ink"), family: "system-ui, DejaVu Sans, sans-serif", size: 12 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: value("--muted"), activecolor: value("--ink") },
      hoverlabel: { bgcolor: value("--shade"), font: { color: value("--ink") } } };
    const result = { ...layout, ...patch };
    for (const key of Object.keys(layout))
      if (/^[xy]axis/.test(key)) result[key] = { ...layout[key], ...axis };
    if (layout.scene) {
      result.scene = { ...layout.scene };
      for (const key of ["xaxis", "yaxis", "zaxis"])
        result.scene[key] = { ...layout.scene[key], gridcolor: value("--line"),
          color: value("--ink"), showbackground: false, zeroline: false };
    }
    return result;
  };
  const options = { responsive: true, displaylogo: false, displayModeBar: "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "toImage"] };
  const draw = async (place) => {
    const name = place.dataset.figure, figure = figures[name];
    const narrow = place.clientWidth < 480;
    const layout = theme(figure.layout);
    if (layout.margin === undefined)
      layout.margin = { l: narrow ? 48 : 70, r: 12, t: narrow ? 76 : 40, b: 44 };
    if (layout.scene) layout.height = Math.min(layout.height, 1.15 * place.clientWidth);
    if (layout.scene && narrow) {  // room for the numbers at the axes
      const chosen = Object.values(layout.meta).map((one) => one["scene.aspectratio"]);
      for (const aspect of [layout.scene.aspectratio, ...chosen])
        for (const axis of "xyz") aspect[axis] *= 0.85;
    }
    layout.dragmode = layout.scene ? "orbit" : narrow ? false : "zoom";
    await Plotly.react(place, figure.data, layout, options);
    place.parentElement.classList.add("drawn");
    drawn.add(name);
    if (viewer) await show([name]);
  };
  const places = [...document.querySelectorAll("[data-figure]")];
  const queue = places.slice();
  dark.addEventListener("change", () => places.filter((p) => drawn.has(p.dataset.figure))
    .forEach((p) => Plotly.react(p, p.data, theme(p.layout), options)));

  // --- frames --------------------------------------------------------------------------------
  const kinds = { uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array,
    uint32: Uint32Array };
  const array = (name) => {
    const { type, start, shape } = viewer.index[name];
    return { shape, values: new kinds[type](buffer, start, shape.reduce((a, b) => a * b, 1)) };
  };
  const row = (name, frame) => {
    const { shape, values } = array(name);
    const size = shape.slice(1).reduce((a, b) => a * b, 1);
    return values.subarray(frame * size, (frame + 1) * size);
  };
  const image = (name, frame, step) => {
    const [, height, width] = array(name).shape, flat = row(name, frame);
    return Array.from({ length: height }, (_, j) =>
      Float32Array.from(flat.subarray(j * width, (j + 1) * width), (v) => v * step));
  };
  const state = { controller: viewer && Object.keys(viewer.controllers)[0], frame: 0,
    shown: viewer && viewer.has_temperature ? "temperature" : "dose" };
  const place = (name) => places.find((p) => p.dataset.figure === name);

  const lesion = (frame) => {
    const name = state.controller;
    const [firstPoint, firstFace, points, faces] = row(`${name}.lesion`, frame);
    const vertices = array(`${name}.vertices`).values, corners = array(`${name}.faces`).values;
    const along = (axis) => Float32Array.from({ length: points }, (_, n) => viewer.origin_mm[axis]
      + vertices[3 * (firstPoint + n) + axis] * viewer.length_mm);
    const corner = (n) => Int32Array.from({ length: faces }, (_, f) =>
      corners[3 * (firstFace + f) + n]);
    return { x: [along(0)], y: [along(1)], z: [along(2)], i: [corner(0)], j: [corner(1)],
      k: [corner(2)] };
  };
  const show3d = async (frame) => {
    const target = place("scene"), trace = (name) => target.data.findIndex((t) => t.name === name);
    await Plotly.restyle(target, lesion(frame), [trace("lesion")]);
    const room = Float32Array.from(row(`${state.controller}.constraints`, frame),
      (v, n) => v * viewer.celsius - (viewer.limits[n] ?? 1000));
    await Plotly.restyle(target, { "marker.color": [room] }, [trace("constrained points")]);
    const sizes = Array.from(row(`${state.controller}.power`, frame),
      (v) => 3 + 9 * Math.sqrt(v / 255));
    await Plotly.restyle(target, { "marker.size": [sizes] }, [trace("foci")]);
  };
  const showSlice = async (number, frame) => {
    const target = place(`slice${number}`), name = state.controller;
    const dose = image(`${name}.dose${number}`, frame, viewer.log_dose);
    const hot = state.shown === "temperature";
    const values = hot ? image(`${name}.temperature${number}`, frame, viewer.celsius) : dose;
    // Colours follow the dose's logarithm; what is read is the dose.
    const words = (v) => (v <= viewer.log_lowest ? "no dose"
      : `${String(+(10 ** v).toPrecision(3)).replace(/\B(?=(\d{3})+$)/g, ",")} CEM43`);
    await Plotly.restyle(target, { z: [values], zmin: hot ? 37 : 0,
      zmax: hot ? viewer.hottest : viewer.log_prescribed + 2,
      text: [hot ? null : dose.map((row) => Array.from(row, words))],
      hovertemplate: `%{x:.1f}, %{y:.1f} mm: ${hot ? "%{z:.1f} °C" : "%{text}"}<extra></extra>`,
    }, [1]);
    await Plotly.restyle(target, { z: [dose] }, [3]);
  };
  const show = async (names) => {
    const said = viewer.controllers[state.controller], frame = state.frame, time = said.t[frame];
    for (const name of names) {
      if (!drawn.has(name)) continue;
      if (name === "scene") await show3d(frame);
      else if (/^slice/.test(name)) await showSlice(Number(name.slice(5)), frame);
      else if (/^course_/.test(name)) {
        const cursor = `shapes[${place(name).layout.shapes.length - 1}]`;
        await Plotly.relayout(place(name), { [`${cursor}.x0`]: time, [`${cursor}.x1`]: time,
          [`${cursor}.visible`]: name === `course_${state.controller}` });
      }
    }
  };
  const describe = () => {
    const said = viewer.controllers[state.controller], frame = state.frame;
    const room = Array.from(row(`${state.controller}.constraints`, frame), (v) => v * viewer.celsius);
    const worst = said.worst.length ? said.worst[frame] : 0;
    const mean = `target's mean ${said.mean[frame].toFixed(1)} °C`;
    const text = [`${said.t[frame].toLocaleString("en")} s`,
      said.held ? mean : `${(100 * said.coverage[frame]).toFixed(1)} % treated`,
      `target up to ${said.hottest[frame].toFixed(1)} °C`];
    if (said.t[frame] === said.ended_s) text.splice(1, 0, "end of the treatment");
    if (worst) text.push(`location ${worst} nearest its limit: ${room[worst - 1].toFixed(1)} °C`);
    $("moment").textContent = text.join(" · ");
    $("time").setAttribute("aria-valuetext", text.join(", "));
  };
  let busy = false, again = false;
  const refresh = async () => {
    describe();
    if (busy) { again = true; return; }
    busy = true;
    do { again = false; await show([...drawn]); } while (again);
    busy = false;
  };
  const legend = () => {
    const hot = state.shown === "temperature", high = viewer.log_prescribed + 2;
    $("scale-low").textContent = hot ? "37 °C" : "1 CEM43";
    $("scale-high").textContent = hot ? `${viewer.hottest.toFixed(0)} °C`
      : `${Math.round(10 ** high).toLocaleString("en")} CEM43`;
  };
  const choose = (name) => {
    const last = viewer.controllers[state.controller], before = last.t[state.frame];
    const atEnd = state.frame === last.end;
    state.controller = name;
    const times = viewer.controllers[name].t;
    const nearest = atEnd ? viewer.controllers[name].end : times.reduce((best, t, n) =>
      Math.abs(t - before) < Math.abs(times[best] - before) ? n : best, 0);
    $("time").max = times.length - 1;
    $("time").value = state.frame = nearest;
    refresh();
  };
  let timer = null;
  const play = () => {
    $("play").textContent = timer ? "Play" : "Pause";
    if (timer) { clearInterval(timer); timer = null; return; }
    if (state.frame >= Number($("time").max)) state.frame = -1;
    timer = setInterval(() => {
      if (busy) return;
      state.frame += 1;
      $("time").value = state.frame;
      refresh();
      if (state.frame >= Number($("time").max)) play();
    }, 120);
  };
  if (viewer) {
    const said = viewer.controllers[state.controller];
    $("time").max = said.t.length - 1;
    // At first the end of the treatment, while the target is hot.
    $("time").value = state.frame = said.end;
    $("time").addEventListener("input", (event) => {
      state.frame = Number(event.target.value);
      refresh();
    });
    $("play").addEventListener("click", play);
    for (const input of document.querySelectorAll("input[name=controller]"))
      input.addEventListener("change", () => choose(input.value));
    for (const input of document.querySelectorAll("input[name=shown]"))
      input.addEventListener("change", () => { state.shown = input.value; legend(); refresh(); });
    for (const input of document.querySelectorAll("input[name=extent]"))
      input.addEventListener("change", () => {
        Plotly.relayout(place("scene"), place("scene").layout.meta[input.value]);
      });
    legend();
    describe();
    document.querySelector(".viewer").hidden = false;
  }
  // Only what is looked at is drawn, so that the page is there at once.
  const watch = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting && queue.includes(entry.target)) {
      queue.splice(queue.indexOf(entry.target), 1);
      draw(entry.target);
    }
  }), { rootMargin: "300px" });
  places.forEach((p) => watch.observe(p));
})();
