"use strict";
(() => {
const content = JSON.parse(document.getElementById("content").textContent)
const STEP = 24
const byId = id => document.getElementById(id)
const SVG = byId("pen").namespaceURI
const view = {list: null, shown: STEP, off: new Set(), items: [], place: 0, back: null}

function element(tag, options = {}, ...children) {
  const {text, classes, ...attributes} = options
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  if (classes) made.className = classes
  if (text !== undefined) made.textContent = text
  made.append(...children)
  return made
}

function drawing(tag, attributes) {
  const made = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  return made
}

const tone = number => content.layers[number] === "errors" ? "t-errors" : `t${number}`

function overlay(image) {
  const picture = drawing("svg", {viewBox: `0 0 ${image.width} ${image.height}`, "aria-hidden": "true"})
  image.layers.forEach((layer, number) => {
    if (layer.mask) {
      const size = {width: image.width, height: image.height, preserveAspectRatio: "none"}
      picture.append(drawing("image", {href: layer.mask, "data-mask": number, ...size}))
    }
    const group = drawing("g", {class: tone(number), "data-layer": number})
    const names = []
    for (const path of layer.shapes || []) group.append(drawing("path", {d: path}))
    for (const [left, top, right, bottom, name] of layer.boxes || []) {
      const box = drawing("rect", {x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top)})
      if (name) {
        const title = drawing("title", {})
        title.textContent = name
        box.append(title)
        const size = Math.max(image.width, image.height) / 36
        const label = drawing("text", {x: left, y: number ? bottom - size / 3 : Math.max(size, top - size / 3)})
        label.style.fontSize = `${size}px`
        label.textContent = name
        names.push(label)
      }
      group.append(box)
    }
    group.append(...names)
    picture.append(group)
  })
  return picture
}

function caption(image) {
  const lines = image.layers.map((layer, number) => [content.layers[number], layer.text, tone(number)])
  const told = lines.filter(([, text]) => text)
    .map(([title, text, classes]) => element("span", {classes: `told ${classes}`}, element("b", {text: title}), ` ${text.replaceAll(" %", "\u00a0%")}`))
  return element("figcaption", {}, ...told, ...(image.figures || []).map(text => element("span", {classes: "told", text})), element("span", {classes: "file", text: image.name}))
}

function figure(image, enlarge) {
  const words = image.layers.map((layer, number) => layer.text ? `${content.layers[number]} ${layer.text}` : "").filter(Boolean)
  const photo = element("img", {src: image.source, alt: `${image.name}. ${words.join(", ")}`, width: image.width, height: image.height})
  const holder = element(enlarge ? "button" : "span", enlarge ? {type: "button", classes: "picture", title: "Enlarge"} : {classes: "picture"}, photo, overlay(image))
  if (enlarge) holder.addEventListener("click", () => enlarge(holder))
  return element("figure", {}, holder, caption(image))
}

function toggleLayers(root) {
  for (const group of root.querySelectorAll("[data-layer]")) group.toggleAttribute("hidden", view.off.has(Number(group.dataset.layer)))
  for (const mask of root.querySelectorAll("[data-mask]")) mask.toggleAttribute("hidden", mask.dataset.mask !== byId("mask").value)
}

function toggleAll() {
  toggleLayers(byId("gallery"))
  toggleLayers(byId("enlarged"))
}

function addToggles() {
  const has = (number, ...parts) => content.images.some(({layers}) => layers[number] && parts.some(part => layers[number][part]))
  content.layers.forEach((name, number) => {
    if (has(number, "mask")) byId("mask").append(element("option", {value: number, text: name}))
    if (!has(number, "boxes", "shapes")) return
    const button = element("button", {type: "button", "aria-pressed": "true"}, element("i", {classes: tone(number)}), name)
    button.addEventListener("click", () => {
      const on = view.off.delete(number)
      if (!on) view.off.add(number)
      button.setAttribute("aria-pressed", String(on))
      toggleAll()
    })
    byId("toggles").append(button)
  })
  byId("mask").append(element("option", {value: "", text: "none"}))
  byId("by-mask").hidden = byId("mask").options.length < 2
  if (byId("mask").options.length > 2) byId("mask").selectedIndex = byId("mask").options.length - 2
  byId("mask").addEventListener("change", toggleAll)
  const errors = content.layers.includes("errors") ? [["wrong pixels", "#ff0078"]] : []
  for (const [name, color] of [...content.legend, ...errors]) {
    const chip = element("i", {})
    chip.style.background = color
    byId("legend").append(element("span", {}, chip, name))
  }
}

function show() {
  const list = view.list
  const name = byId("class").value
  view.items = list.images.map(place => content.images[place]).filter(({classes}) => !name || classes.includes(name))
  const visible = view.items.slice(0, view.shown)
  byId("gallery").replaceChildren(...visible.map((image, place) => figure(image, holder => openLarge(place, holder))))
  byId("more").hidden = view.items.length <= view.shown
  const pictures = `${view.items.length} ${view.items.length === 1 ? "picture" : "pictures"}`
  byId("shown").textContent = list.count > list.images.length && !name ? `${list.title}: ${list.count} images, ${pictures}` : `${list.title}: ${pictures}`
  byId("others").textContent = list.more && !name ? `Without a picture: ${list.more.join(", ")}${list.count - list.images.length > list.more.length ? " ..." : ""}` : ""
  toggleLayers(byId("gallery"))
}

function choose(list) {
  view.list = list
  view.shown = STEP
  const select = byId("list")
  const place = content.lists.indexOf(list)
  select.querySelector("option[data-extra]")?.remove()
  if (list.key) select.append(element("option", {value: place, "data-extra": "", text: list.title}))
  select.value = String(place)
  show()
}

function openLarge(place, holder) {
  view.place = place
  if (holder) view.back = holder
  byId("enlarged").replaceChildren(figure(view.items[place]))
  const {width, height} = view.items[place]
  byId("enlarged").querySelector(".picture").style.maxWidth = `min(100%, calc(72vh * ${width / height}))`
  toggleLayers(byId("enlarged"))
  if (!byId("large").open) byId("large").showModal()
}

function step(by) {
  openLarge((view.place + by + view.items.length) % view.items.length)
}

function sortable(table) {
  const heads = [...table.querySelectorAll("thead th")]
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending"
    heads.forEach(other => other.setAttribute("aria-sort", "none"))
    head.setAttribute("aria-sort", up ? "ascending" : "descending")
    const body = table.tBodies[0]
    const key = row => row.cells[column].dataset.number
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [key(one), key(other)]
      if (a === undefined) return (up ? 1 : -1) * one.cells[column].dataset.value.localeCompare(other.cells[column].dataset.value, undefined, {numeric: true})
      if (a === "" || b === "") return (a === "") - (b === "")  // unknown ones last
      return (up ? 1 : -1) * (Number(a) - Number(b))
    })
    body.append(...rows)
  }))
}

content.lists.forEach((list, place) => {
  if (!list.key && list.images.length) byId("list").append(element("option", {value: place, text: list.title}))
})
byId("class").append(element("option", {value: "", text: "all"}), ...content.classes.map(name => element("option", {value: name, text: name})))
byId("by-class").hidden = !content.classes.length
byId("samples").append(...content.samples.map(image => figure(image)))
addToggles()
choose(content.lists.find(list => list.images.length && !list.key))
byId("list").addEventListener("change", event => choose(content.lists[Number(event.target.value)]))
byId("class").addEventListener("change", () => { view.shown = STEP; show() })
byId("more").addEventListener("click", () => { view.shown += STEP; show() })
byId("close").addEventListener("click", () => byId("large").close())
byId("before").addEventListener("click", () => step(-1))
byId("after").addEventListener("click", () => step(1))
byId("large").addEventListener("keydown", event => {
  if (event.key === "ArrowLeft") step(-1)
  if (event.key === "ArrowRight") step(1)
})
byId("large").addEventListener("click", event => { if (event.target === byId("large")) byId("large").close() })
byId("large").addEventListener("close", () => view.back?.focus())
document.querySelectorAll("table.sortable").forEach(sortable)
document.querySelectorAll("button[data-list]").forEach(button => button.addEventListener("click", () => {
  const list = content.lists.find(({key}) => key === button.dataset.list)
  byId("class").value = ""
  choose(list)
  byId("images").scrollIntoView()
  const first = byId("gallery").querySelector("button")
  first?.focus({preventScroll: true})
}))
})()
