/* What is drawn on a picture: masks, boxes and captions.

- overlay.layers(prediction, names) returns a promise of the painted masks.
- overlay.draw(canvas, image, prediction, names, layers, state) fills a canvas. In `state`, `overlay` tells whether
  anything is drawn on the image, and `marked` is the object whose box is thick, or null.
- overlay.touch(one, other) tells whether two boxes overlap. */
const overlay = (() => {
  const IGNORED = 255, OPACITY = 140, ONE_BOX = [213, 94, 0]

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
    const palette = Array.from({length: 256}, (_, index) => colorOf(index))
    for (let place = 0; place < data.length; place++) {
      const rgb = palette[data[place]]
      if (rgb) pixels.data.set([...rgb, OPACITY], 4 * place)
    }
    pen.putImageData(pixels, 0, 0)
    return canvas
  }

  async function layers(prediction, names) {
    const made = []
    if (prediction.mask) {
      const {width, height} = prediction.mask
      const colorOf = index => index > 0 && index !== IGNORED ? colors.ofClass(index) : undefined
      const size = prediction.size || {width, height}
      made.push([painted(width, height, await classes(prediction.mask), colorOf), 0, 0, size.width, size.height])
    }
    for (const one of prediction.objects || []) {
      if (!one.mask) continue
      const rgb = colors.ofObject(one, names)
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
    pen.strokeStyle = colors.css(rgb)
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
    pen.fillStyle = colors.css(rgb)
    pen.fillRect(place[0], place[1], width, height)
    pen.fillStyle = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 128 ? "black" : "white"
    pen.fillText(text, x + 4 * dot, place[1] + 13 * dot)
  }

  function draw(canvas, image, prediction, names, parts, state) {
    const {width} = prediction.size || {width: image.naturalWidth || image.width}, scale = canvas.width / width
    const pen = canvas.getContext("2d"), dot = canvas.width / canvas.clientWidth || 1
    pen.imageSmoothingQuality = "high"
    pen.drawImage(image, 0, 0, canvas.width, canvas.height)
    if (!state.overlay) return
    for (const [layer, ...place] of parts) {
      pen.drawImage(layer, ...place.map(end => end * scale))
    }
    if (prediction.bbox) box(pen, prediction.bbox, ONE_BOX, scale, 2.5 * dot)
    const objects = [...(prediction.objects || [])].reverse() // the best one on top
    for (const one of objects) {
      if (one.polygon) fillPolygon(pen, one, colors.ofObject(one, names), scale)
      box(pen, one.bbox, colors.ofObject(one, names), scale, (one === state.marked ? 5 : 2.5) * dot)
    }
    pen.font = `${13 * dot}px system-ui, sans-serif`
    const taken = []
    objects.reverse().forEach(one => caption(pen, one, colors.ofObject(one, names), scale, dot, taken))
  }

  return {layers, draw, touch}
})()
