/* The list beside a picture: what was found, with bars.

listed(prediction, names, state) returns an element. In `state`, `marked` is an object of the prediction or null, and
`open` a set with the titles of the lists that are shown in full. The buttons have `data-object`, the place of an
object, or `data-list`, the title of a list, and do nothing yet. */
const listed = (() => {
  const FIRST = 5 // bars that are shown before the others are asked for
  const percent = share => `${(100 * share).toFixed(1)}\u00a0%`
  const shortNumber = value => String(Number(value.toPrecision(4)))
  const sorted = shares => Object.entries(shares).sort((one, other) => other[1] - one[1])

  function add(parent, tag, className, text) {
    const made = document.createElement(tag)
    if (className) made.className = className
    if (text !== undefined) made.textContent = text
    parent.append(made)
    return made
  }

  function button(parent, className, text, state) {
    const made = Object.assign(add(parent, "button", className, text), {type: "button"})
    for (const [name, value] of Object.entries(state)) made.setAttribute(name, String(value))
    return made
  }

  /* One line: a name, a number, and below a bar for a share of 0 to 1. */
  function line(list, {name, number, share, chosen, swatch, limit, press}) {
    const item = add(list, "li", chosen ? "chosen" : "")
    const row = press ? button(item, "line", undefined, press) : add(item, "div", "line")
    const label = add(row, "span", "name")
    if (swatch) add(label, "span", "swatch").style.background = colors.css(swatch)
    label.append(name)
    add(row, "span", "number", number)
    if (share === undefined) return
    const bar = add(item, "div", "bar")
    add(bar, "i").style.width = `${100 * Math.min(1, Math.max(0, share))}%`
    if (limit !== undefined) add(bar, "b").style.left = `${100 * limit}%`
  }

  /* One part: a title, an answer, and a list of which the first lines are shown unless all are asked for. */
  function part(side, {title, answer, items = []}, state) {
    const made = add(side, "div", "part"), open = state.open.has(title)
    add(made, "h3", "", title)
    if (answer) add(made, "p", "answer", answer)
    if (!items.length) return
    const list = add(made, "ol")
    items.forEach(item => line(list, item))
    if (items.length < FIRST + 2) return
    const text = open ? `Show the first ${FIRST}` : `Show all ${items.length}`
    button(made, "more", text, {"aria-expanded": open, "data-list": title})
    for (const other of [...list.children].slice(FIRST)) other.hidden = !open
  }

  const parts = {
    label({label, score, probabilities}) {
      const items = sorted(probabilities || {}).map(([name, share]) =>
        ({name, share, number: percent(share), chosen: name === label}))
      return {title: "Class", answer: score === undefined ? label : `${label}, ${percent(score)}`, items}
    },
    labels({labels, thresholds}) {
      const limit = name => thresholds && thresholds[name] !== undefined ? thresholds[name] : 0.5
      const items = sorted(labels).map(([name, share]) =>
        ({name, share, number: percent(share), chosen: share >= limit(name), limit: limit(name)}))
      const taken = items.filter(item => item.chosen).map(item => item.name)
      return {title: "Classes", answer: taken.join(", ") || "none", items}
    },
    value({value}) {
      const items = Object.entries(value).map(([name, number]) => ({name, number: shortNumber(number), chosen: true}))
      return {title: items.length > 1 ? "Values" : "Value", items}
    },
    bbox({bbox, presence}) {
      const items = presence === undefined ? []
        : [{name: "an object", share: presence, number: percent(presence), chosen: Boolean(bbox)}]
      return {title: "Box", answer: bbox ? bbox.map(end => end.toFixed(1)).join(", ") : "no object", items}
    },
    objects({objects}, names, marked) {
      const items = objects.map((one, place) => ({
        name: one.label, number: one.score === undefined ? "" : percent(one.score), share: one.score,
        swatch: colors.ofObject(one, names), press: {"aria-pressed": one === marked, "data-object": place},
      }))
      return {title: "Objects", answer: String(objects.length || "none"), items}
    },
    shares({shares}, names) {
      const items = sorted(shares).filter(([, share]) => share > 0).map(([name, share]) =>
        ({name, share, number: percent(share), swatch: colors.ofMask(name, names)}))
      return {title: "Share of the pixels", items}
    },
  }

  return (prediction, names, state) => {
    const side = document.createElement("div")
    for (const [key, make] of Object.entries(parts)) {
      const found = prediction[key]
      if (found === undefined || (found === null && key !== "bbox")) continue
      part(side, make(prediction, names, state.marked), state)
    }
    return side
  }
})()
