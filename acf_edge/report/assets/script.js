"use strict";
// Before and after. The range input holds the position (and serves the keyboard
// and screen readers); pointers move it through the stage.
for (const compare of document.querySelectorAll(".compare")) {
  const slides = [...compare.querySelectorAll(".slide")];
  const buttons = (name) => [...compare.querySelectorAll(`button[data-${name}]`)];
  let zoom = 0;

  const fit = (slide) => {
    const stage = slide.querySelector(".stage");
    const image = slide.querySelector("img");
    const [width, height] = [image, image].map((one, axis) =>
      Number(one.getAttribute(axis ? "height" : "width")));
    slide.classList.toggle("zoomed", zoom > 0);
    stage.style.width = zoom ? `${width * zoom}px` : "";
    stage.style.maxWidth = zoom ? "" : `calc(82vh * ${width} / ${height})`;
    slide.querySelector(".view").style.maxHeight = zoom ? "82vh" : "";
  };

  const press = (group, chosen) =>
    group.forEach((button) => button.setAttribute("aria-pressed", String(button === chosen)));

  const choose = (name, act) => {
    const group = buttons(name);
    group.forEach((button) => button.addEventListener("click", () => {
      press(group, button);
      act(button.dataset[name]);
    }));
  };

  choose("slide", (index) => {
    slides.forEach((slide, place) => { slide.hidden = place !== Number(index); });
    pairs();
  });
  choose("zoom", (factor) => {
    zoom = Number(factor);
    slides.forEach(fit);
    slides.filter((slide) => !slide.hidden && zoom).forEach((slide) => {
      const view = slide.querySelector(".view");
      view.scrollLeft = (view.scrollWidth - view.clientWidth) / 2;
      view.scrollTop = (view.scrollHeight - view.clientHeight) / 2;
    });
  });
  choose("pair", (pair) => {
    slides.forEach((slide) => {
      slide.dataset.pair = slide.querySelector(".truth") ? pair : "before";
    });
  });

  // A frame without ground truth has one pair only.
  const pairs = () => {
    const shown = slides.find((slide) => !slide.hidden);
    buttons("pair").forEach((button) => {
      button.disabled = button.dataset.pair === "truth" && !shown.querySelector(".truth");
    });
  };

  for (const slide of slides) {
    const stage = slide.querySelector(".stage");
    const view = slide.querySelector(".view");
    const edge = slide.querySelector(".edge");
    const rule = slide.querySelector(".rule");
    const show = () => stage.style.setProperty("--cut", `${edge.value}%`);
    const move = (event) => {
      const box = stage.getBoundingClientRect();
      edge.value = String(Math.round(((event.clientX - box.left) / box.width) * 1000) / 10);
      show();
    };
    edge.step = "0.1";
    edge.addEventListener("input", show);
    // Arrow keys move by a percent, with shift by ten; a range's own step is too fine.
    edge.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      edge.value = String(Number(edge.value) + step * (event.shiftKey ? 10 : 1));
      show();
    });

    let drag = null;
    stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const onRule = rule.contains(event.target);
      if (zoom && !onRule && event.pointerType !== "mouse") return;
      drag = zoom && !onRule
        ? { x: event.clientX + view.scrollLeft, y: event.clientY + view.scrollTop }
        : "edge";
      stage.setPointerCapture(event.pointerId);
      event.preventDefault();
      edge.focus({ preventScroll: true });
      // A finger may be about to scroll the page: it moves the edge when it moves.
      if (drag === "edge" && !zoom && event.pointerType === "mouse") move(event);
    });
    stage.addEventListener("pointermove", (event) => {
      if (drag === "edge") move(event);
      else if (drag) view.scrollTo(drag.x - event.clientX, drag.y - event.clientY);
    });
    stage.addEventListener("pointerup", (event) => {
      if (drag === "edge" && !zoom) move(event);
      drag = null;
    });
    stage.addEventListener("pointercancel", () => { drag = null; });
    fit(slide);
  }

  slides.forEach((slide, place) => { slide.hidden = place > 0; });
  pairs();
  compare.querySelectorAll(".controls, .hint").forEach((one) => { one.hidden = false; });
}
