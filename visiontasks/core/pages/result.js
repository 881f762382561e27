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
- names: {class_names: [...], mask_names: [...]}, which choose the colors.

It returns a promise, which is fulfilled when the picture is drawn, of a function update(image, prediction): it shows
the next picture of a video in the same place, and keeps what the person has switched and marked. */
const showResult = (() => {
  /* Gives an element the content of another one. Elements that both have stay: a press on one would be lost with it. */
  function patch(old, made) {
    const before = [...old.childNodes], after = [...made.childNodes]
    before.slice(after.length).forEach(node => node.remove())
    after.forEach((node, place) => {
      const own = before[place]
      if (!own) old.append(node)
      else if (own.nodeName !== node.nodeName) own.replaceWith(node)
      else if (node.nodeType === Node.TEXT_NODE) { if (own.data !== node.data) own.data = node.data }
      else become(own, node)
    })
  }

  function become(own, node) {
    for (const {name} of [...own.attributes]) if (!node.hasAttribute(name)) own.removeAttribute(name)
    for (const {name, value} of node.attributes) if (name !== "style") own.setAttribute(name, value)
    own.style.cssText = node.style.cssText // a policy may forbid the attribute
    patch(own, node)
  }

  /* The object of the next picture that is the marked one: the nearest of its class where it was; itself if none is. */
  function followed(objects, marked) {
    const far = one => one.bbox.reduce((sum, end, place) => sum + Math.abs(end - marked.bbox[place]), 0)
    const near = objects.filter(one => one.label === marked.label && overlay.touch(one.bbox, marked.bbox))
    return near.reduce((best, one) => far(one) < far(best) ? one : best, near[0] || marked)
  }

  function made(tag, className, ...children) {
    const element = Object.assign(document.createElement(tag), {className})
    element.append(...children)
    return element
  }

  function panel(element) {
    const canvas = made("canvas", ""), toggle = made("button", "overlay", "Overlay"), list = made("div", "")
    const picture = made("div", "picture", made("div", "frame", canvas, toggle))
    toggle.type = "button"
    toggle.hidden = true
    canvas.setAttribute("role", "img")
    element.replaceChildren(picture, made("div", "side", list))
    return {canvas, toggle, list, picture}
  }

  /* Draws again when the room for the picture has changed. */
  function watch(picture, redraw) {
    let last = picture.clientWidth
    const observer = new ResizeObserver(() => {
      if (!picture.isConnected) return observer.disconnect()
      if (picture.clientWidth !== last) { last = picture.clientWidth; redraw() }
    })
    observer.observe(picture)
  }

  return async (element, image, prediction, names = {}) => {
    const state = {overlay: true, marked: null, open: new Set()}
    let layers = await overlay.layers(prediction, names)
    const {canvas, toggle, list, picture} = panel(element)

    function redraw() {
      const [width, height] = [image.naturalWidth || image.width, image.naturalHeight || image.height]
      const room = Math.min(picture.clientWidth || width, (0.72 * innerHeight * width) / height)
      const wide = Math.max(1, Math.round(room)), dot = devicePixelRatio || 1
      canvas.style.width = `${wide}px`
      canvas.width = Math.round(wide * dot)
      canvas.height = Math.max(1, Math.round((canvas.width * height) / width))
      overlay.draw(canvas, image, prediction, names, layers, state)
    }

    function refresh() {
      patch(list, listed(prediction, names, state))
      canvas.setAttribute("aria-label", `The picture with: ${list.innerText.slice(0, 400)}`)
      if (layers.length || prediction.bbox || (prediction.objects || []).length) toggle.hidden = false
      toggle.setAttribute("aria-pressed", String(state.overlay))
      redraw()
    }

    toggle.onclick = () => {
      state.overlay = !state.overlay
      refresh()
    }
    list.onclick = event => {
      const pressed = event.target.closest("button")
      if (!pressed) return
      const {list: title, object: place} = pressed.dataset
      if (title) state.open.delete(title) || state.open.add(title)
      else state.marked = state.marked === prediction.objects[place] ? null : prediction.objects[place]
      refresh()
    }
    refresh()
    watch(picture, redraw)
    return async (nextImage, next) => {
      const painted = await overlay.layers(next, names)
      if (state.marked) state.marked = followed(next.objects || [], state.marked);
      [image, prediction, layers] = [nextImage, next, painted]
      refresh()
    }
  }
})()
