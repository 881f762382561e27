"use strict"
/* Shows one prediction: the picture with what was found on it, and bars beside it.

showResult(element, image, prediction, names) fills an element that has the class `result`.

- image: what `drawImage` takes: an img that has loaded, an ImageBitmap or a canvas. It must stay open.
- prediction: boxes and points are in pixels of the image; all keys may be left out, and several may be given:
  {size: {width, height}}                                              of the image, if a reduced one is given
  {label: "cat", score: 0.9, probabilities: {cat: 0.9, dog: 0.1}}
  {labels: {tree: 0.9, car: 0.2}, thresholds: {tree: 0.5, car: 0.5}}   thresholds may be left out: 0.5
  {value: {age: 31.5}}
  {bbox: [xmin, ymin, xmax, ymax], presence: 0.9}                      null where there is no object
  {objects: [{bbox, label: "cat", score: 0.8, polygon: [[[x, y], ...], ...],
              mask: {left, top, width, height, data: Uint8Array of 0 and 1}}]}   polygon and mask may be left out
  {mask: {width, height, data: Uint8Array of classes, or the address of a PNG image whose gray values are the classes},
   shares: {cat: 0.4}}                                                 a reduced mask is enlarged to the image
- names: {class_names: [...], mask_names: [...]}, which choose the colors; those of pictures that `predict` draws.

It returns a promise that is fulfilled when the picture is drawn. */
const showResult = (() => {
  const FIRST = 5 // bars that are shown before the others are asked for
  const IGNORED = 255, OPACITY = 140, ONE_BOX = [213, 94, 0]

  /* The color of a class as in Pascal VOC: its bits are those of the index. */
  const bits = (index, channel) => [0, 1, 2].map(bit => ((index >> (3 * bit + channel)) & 1) * (128 >> bit))
  const color = index => [0, 1, 2].map(channel => bits(index, channel).reduce((sum, bit) => sum + bit))
  const placeIn = (list, name) => Math.max(0, (list || []).indexOf(name))
  const objectColor = (object, names) => color(1 + placeIn(names.class_names, object.label))
  const css = rgb => `rgb(${rgb.join(",")})`
  const percent = share => `${(100 * share).toFixed(1)}\u00a0%`
  const shortNumber = value => String(Number(value.toPrecision(4)))

  function add(parent, tag, className, text) {
    const made = document.createElement(tag)
    if (className) made.className = className
    if (text !== undefined) made.textContent = text
    parent.append(made)
    return made
  }

  const button = (parent, className, text) => Object.assign(add(parent, "button", className, text), {type: "button"})

  function part(side, title, answer) {
    const made = add(side, "div", "part")
    add(made, "h3", "", title)
    if (answer) add(made, "p", "answer", answer)
    return made
  }

  /* One line: a name, a number, and below a bar for a share of 0 to 1. */
  function line(list, {name, number, share, chosen, swatch, limit, press}) {
    const item = add(list, "li", chosen ? "chosen" : "")
    const row = press ? button(item, "line") : add(item, "div", "line")
    const label = add(row, "span", "name")
    if (swatch) add(label, "span", "swatch").style.background = css(swatch)
    label.append(name)
    add(row, "span", "number", number)
    if (share === undefined) return row
    const bar = add(item, "div", "bar")
    add(bar, "i").style.width = `${100 * Math.min(1, Math.max(0, share))}%`
    if (limit !== undefined) add(bar, "b").style.left = `${100 * limit}%`
    return row
  }

  function lines(parent, items) {
    const list = add(parent, "ol")
    const rows = items.map(item => line(list, item))
    const others = [...list.children].slice(FIRST)
    if (others.length < 2) return rows
    const more = button(parent, "more", `Show all ${items.length}`)
    more.setAttribute("aria-expanded", "false")
    others.forEach(other => { other.hidden = true })
    more.onclick = () => {
      const open = more.getAttribute("aria-expanded") !== "true"
      more.setAttribute("aria-expanded", String(open))
      more.textContent = open ? `Show the first ${FIRST}` : `Show all ${items.length}`
      others.forEach(other => { other.hidden = !open })
    }
    return rows
  }

  const sorted = shares => Object.entries(shares).sort((one, other) => other[1] - one[1])

  function list(side, prediction, names, highlight) {
    const {label, score, probabilities, labels, thresholds, value, bbox, presence, objects, shares} = prediction
    if (label !== undefined && label !== null) {
      const made = part(side, "Class", score === undefined ? label : `${label}, ${percent(score)}`)
      const bars = sorted(probabilities || {})
      lines(made, bars.map(([name, share]) => ({name, share, number: percent(share), chosen: name === label})))
    }
    if (labels) {
      const limit = name => thresholds && thresholds[name] !== undefined ? thresholds[name] : 0.5
      const items = sorted(labels).map(([name, share]) =>
        ({name, share, number: percent(share), chosen: share >= limit(name), limit: limit(name)}))
      const taken = items.filter(item => item.chosen).map(item => item.name)
      lines(part(side, "Classes", taken.join(", ") || "none"), items)
    }
    if (value) {
      const items = Object.entries(value).map(([name, number]) => ({name, number: shortNumber(number), chosen: true}))
      lines(part(side, items.length > 1 ? "Values" : "Value"), items)
    }
    if (bbox !== undefined) {
      const made = part(side, "Box", bbox ? bbox.map(end => end.toFixed(1)).join(", ") : "no object")
      if (presence !== undefined) {
        lines(made, [{name: "an object", share: presence, number: percent(presence), chosen: Boolean(bbox)}])
      }
    }
    if (objects) {
      const made = part(side, "Objects", objects.length ? String(objects.length) : "none")
      highlight(lines(made, objects.map(one => ({
        name: one.label, number: one.score === undefined ? "" : percent(one.score), share: one.score,
        swatch: objectColor(one, names), press: true,
      }))))
    }
    if (shares) {
      const items = sorted(shares).filter(([, share]) => share > 0).map(([name, share]) =>
        ({name, share, number: percent(share), swatch: color(placeIn(names.mask_names, name))}))
      lines(part(side, "Share of the pixels"), items)
    }
  }

  async function classes(mask) {
    if (typeof mask.data !== "string") return mask.data
    const image = new Image()
    image.src = mask.data
    await image.decode()
    const canvas = Object.assign(document.createElement("canvas"), {width: mask.width, height: mask.height})
    const pen = canvas.getContext("2d", {willReadFrequently: true})
    pen.drawImage(image, 0, 0)
    return pen.getImageData(0, 0, mask.width, mask.height).data.filter((_, place) => place % 4 === 0)
  }

  /* A canvas with the colors of a mask; colorOf returns undefined where nothing is painted. */
  function painted(width, height, data, colorOf) {
    const canvas = Object.assign(document.createElement("canvas"), {width, height})
    const pen = canvas.getContext("2d")
    const pixels = pen.createImageData(width, height)
    const colors = Array.from({length: 256}, (_, index) => colorOf(index))
    for (let place = 0; place < data.length; place++) {
      const rgb = colors[data[place]]
      if (rgb) pixels.data.set([...rgb, OPACITY], 4 * place)
    }
    pen.putImageData(pixels, 0, 0)
    return canvas
  }

  async function layers(prediction, names) {
    const made = []
    if (prediction.mask) {
      const {width, height} = prediction.mask
      const colorOf = index => index > 0 && index !== IGNORED ? color(index) : undefined
      const size = prediction.size || {width, height}
      made.push([painted(width, height, await classes(prediction.mask), colorOf), 0, 0, size.width, size.height])
    }
    for (const one of prediction.objects || []) {
      if (!one.mask) continue
      const rgb = objectColor(one, names)
      const {left, top, width, height, data} = one.mask
      made.push([painted(width, height, data, index => index ? rgb : undefined), left, top, width, height])
    }
    return made
  }

  function fillPolygon(pen, object, rgb, scale) {
    pen.beginPath()
    for (const ring of object.polygon) {
      ring.forEach(([x, y], place) => pen[place ? "lineTo" : "moveTo"](x * scale, y * scale))
      pen.closePath()
    }
    pen.fillStyle = `rgba(${rgb.join(",")},${OPACITY / 255})`
    pen.fill("evenodd")
  }

  function box(pen, corners, rgb, scale, width) {
    const [left, top, right, bottom] = corners.map(end => end * scale)
    pen.lineWidth = width
    pen.strokeStyle = css(rgb)
    pen.strokeRect(left, top, right - left, bottom - top)
  }

  const touch = (one, other) => [0, 1].every(end => one[end] < other[end + 2] && other[end] < one[end + 2])

  /* Writes a caption where it hides no other one: above the box, below or in it, else above. */
  function caption(pen, object, rgb, scale, dot, taken) {
    const text = object.score === undefined ? object.label : `${object.label} ${object.score.toFixed(2)}`
    const [left, top, , bottom] = object.bbox.map(end => end * scale)
    const width = pen.measureText(text).width + 8 * dot, height = 18 * dot
    const x = Math.max(0, Math.min(left, pen.canvas.width - width))
    const tops = [Math.max(0, top - height), Math.min(bottom, pen.canvas.height - height), top, bottom - height]
    const places = tops.map(y => [x, y, x + width, y + height])
    const place = places.find(one => !taken.some(other => touch(one, other))) || places[0]
    taken.push(place)
    pen.fillStyle = css(rgb)
    pen.fillRect(place[0], place[1], width, height)
    pen.fillStyle = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 128 ? "black" : "white"
    pen.fillText(text, x + 4 * dot, place[1] + 13 * dot)
  }

  function draw(canvas, image, prediction, names, parts, state) {
    const {width} = prediction.size || {width: image.naturalWidth || image.width}, dot = canvas.width / canvas.clientWidth || 1
    const pen = canvas.getContext("2d"), scale = canvas.width / width
    pen.imageSmoothingQuality = "high"
    pen.drawImage(image, 0, 0, canvas.width, canvas.height)
    if (!state.overlay) return
    for (const [layer, ...place] of parts) {
      pen.drawImage(layer, ...place.map(end => end * scale))
    }
    if (prediction.bbox) box(pen, prediction.bbox, ONE_BOX, scale, 2.5 * dot)
    const objects = [...(prediction.objects || []).entries()].reverse() // the best one on top
    for (const [place, one] of objects) {
      if (one.polygon) fillPolygon(pen, one, objectColor(one, names), scale)
      box(pen, one.bbox, objectColor(one, names), scale, (place === state.marked ? 5 : 2.5) * dot)
    }
    pen.font = `${13 * dot}px system-ui, sans-serif`
    const taken = []
    objects.reverse().forEach(([, one]) => caption(pen, one, objectColor(one, names), scale, dot, taken))
  }

  return async (element, image, prediction, names = {}) => {
    const state = {overlay: true, marked: -1}
    const parts = await layers(prediction, names)
    element.replaceChildren()
    const picture = add(element, "div", "picture"), side = add(element, "div", "side")
    const frame = add(picture, "div", "frame"), canvas = add(frame, "canvas")
    const [width, height] = [image.naturalWidth || image.width, image.naturalHeight || image.height]
    const redraw = () => {
      const room = Math.min(picture.clientWidth || width, (0.72 * innerHeight * width) / height)
      const wide = Math.max(1, Math.round(room)), dot = devicePixelRatio || 1
      canvas.style.width = `${wide}px`
      canvas.width = Math.round(wide * dot)
      canvas.height = Math.max(1, Math.round((canvas.width * height) / width))
      draw(canvas, image, prediction, names, parts, state)
    }
    const highlight = rows => rows.forEach((row, place) => {
      row.setAttribute("aria-pressed", "false")
      row.onclick = () => {
        state.marked = state.marked === place ? -1 : place
        rows.forEach((one, number) => one.setAttribute("aria-pressed", String(number === state.marked)))
        redraw()
      }
    })
    list(side, prediction, names, highlight)
    canvas.setAttribute("role", "img")
    canvas.setAttribute("aria-label", `The picture with: ${side.innerText.slice(0, 400)}`)
    if (parts.length || prediction.bbox || (prediction.objects || []).length) {
      const toggle = button(frame, "overlay", "Overlay")
      toggle.setAttribute("aria-pressed", "true")
      toggle.onclick = () => {
        state.overlay = !state.overlay
        toggle.setAttribute("aria-pressed", String(state.overlay))
        redraw()
      }
    }
    redraw()
    let last = picture.clientWidth
    const observer = new ResizeObserver(() => {
      if (!canvas.isConnected) return observer.disconnect()
      if (picture.clientWidth !== last) { last = picture.clientWidth; redraw() }
    })
    observer.observe(picture)
  }
})(); /* an include drops the last line break */
