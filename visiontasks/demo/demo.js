{
  const data = JSON.parse(document.getElementById("data").textContent)
  const part = id => document.getElementById(id)
  const TRIES = 3 // of a request that finds the model busy
  const EXPLAINED = { // what Grad-CAM explains unless a class is chosen
    bbox: "the box", mask: "the most frequent class except the first", objects: "the best object", value: "the value",
  }
  let given = null // what was given last: {name, body} or {name, example}
  let running = null // its request, which a newer one ends
  const camera = cameraOf(part("camera"), part("video"))

  const wait = seconds => new Promise(done => setTimeout(done, 1000 * seconds))

  function say(text, wrong = false) {
    part("status").textContent = text
    part("status").classList.toggle("wrong", wrong)
  }

  async function ask(path, options, signal) {
    const query = new URLSearchParams(options)
    if (given.example !== undefined) query.set("example", given.example)
    for (let left = TRIES; ; left--) {
      const answer = await fetch(`${path}?${query}`, {method: "POST", body: given.body || "", signal})
      if (answer.status === 503 && left > 1) {
        await wait(Number(answer.headers.get("Retry-After")) || 1)
        continue
      }
      const found = await answer.json()
      if (!answer.ok) throw new Error(found.error)
      return found
    }
  }

  /* Asks, and shows what is found or why nothing is; a newer request ends this one in silence. */
  async function request(path, options, text, show) {
    if (running) running.abort()
    const own = running = new AbortController()
    document.body.classList.add("busy")
    say(text)
    try {
      const found = await ask(path, options, own.signal)
      if (running === own) await show(found)
      if (running === own) say("")
    } catch (error) {
      if (running !== own) return
      say(error instanceof TypeError ? "The server does not answer. Is it still running?" : error.message, true)
    } finally {
      if (running === own) document.body.classList.remove("busy")
    }
  }

  async function loaded(address) {
    const image = new Image()
    image.src = address
    await image.decode()
    return image
  }

  function predict(next) {
    given = next
    for (const example of document.querySelectorAll(".example")) {
      example.setAttribute("aria-pressed", String(Number(example.dataset.number) === given.example))
    }
    request("/predict", {}, "Predicting ...", async found => {
      const image = await loaded(found.picture)
      part("answer").hidden = false
      part("heat").hidden = true
      part("name").textContent = given.name
      const {width, height} = found.shown.size
      part("seconds").textContent = ` · ${width} x ${height} pixels · ${duration(found.seconds)}`
      part("answer").append(part("explaining"), part("heat"))
      await showResult(part("result"), image, found.shown, data.names)
      part("result").querySelector(".side").append(part("explaining"), part("heat"))
    })
  }

  const duration = seconds => seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`

  function file(one) {
    if (!one) return
    stop()
    if (one.size > data.most) say(`${one.name} is larger than ${data.most / 2 ** 20} MB. Make it smaller.`, true)
    else predict({name: one.name, body: one})
  }

  part("pick").onclick = () => part("file").click()
  part("file").onchange = () => {
    file(part("file").files[0])
    part("file").value = "" // the same file may be chosen again
  }
  addEventListener("paste", event => file(event.clipboardData.files[0]))
  addEventListener("dragover", event => {
    event.preventDefault()
    document.body.classList.add("dragged")
  })
  addEventListener("dragleave", event => {
    if (!event.relatedTarget) document.body.classList.remove("dragged")
  })
  addEventListener("drop", event => {
    event.preventDefault()
    document.body.classList.remove("dragged")
    if (event.dataTransfer.files.length) file(event.dataTransfer.files[0])
    else say("That is no file. Drop an image from a folder, or copy it and paste it here.", true)
  })

  for (const example of document.querySelectorAll(".example")) {
    example.onclick = () => {
      stop()
      predict({name: example.title, example: Number(example.dataset.number)})
      part("status").scrollIntoView({block: "nearest"})
    }
  }

  // The camera: browsers allow it on 127.0.0.1 and localhost, and elsewhere only through https.

  function stop() {
    camera.stop()
    part("live").hidden = true
  }

  part("camera").hidden = !navigator.mediaDevices
  part("camera").onclick = async () => {
    try {
      part("live").hidden = !(camera.stream || await camera.start())
      if (camera.stream) part("shoot").focus()
    } catch (error) {
      stop()
      say(`The camera cannot be used: ${error.message}.`, true)
    }
  }
  part("stop").onclick = () => {
    stop()
    part("camera").focus()
  }
  part("shoot").onclick = () => {
    const {videoWidth: width, videoHeight: height} = part("video")
    if (!width) return
    const canvas = Object.assign(document.createElement("canvas"), {width, height})
    canvas.getContext("2d").drawImage(part("video"), 0, 0)
    canvas.toBlob(blob => predict({name: "Camera", body: blob}), "image/png")
  }

  // Grad-CAM

  function option(select, value, text) {
    select.append(Object.assign(document.createElement("option"), {value, textContent: text}))
  }

  function listClasses() {
    const names = data.explained[part("head").value]
    part("class").replaceChildren()
    option(part("class"), "", EXPLAINED[part("head").value] || "the predicted class")
    names.forEach((name, place) => option(part("class"), place, name))
    part("classes").hidden = names.length < 2 || ["bbox", "value"].includes(part("head").value)
  }

  const heads = Object.keys(data.explained)
  if (heads.length) {
    heads.forEach(key => option(part("head"), key, key))
    part("heads").hidden = heads.length < 2
    part("explaining").hidden = false
    part("head").onchange = listClasses
    listClasses()
  }
  part("explain").onclick = () => {
    const key = part("head").value, target = part("class").value
    const of = part("class").selectedOptions[0].textContent
    request("/explain", target === "" ? {key} : {key, target}, "Computing Grad-CAM ...", async found => {
      await loaded(found.picture)
      part("heat").hidden = false
      part("heatmap").src = found.picture
      part("heattext").textContent = found.found
        ? `Grad-CAM of ${of}: it depends most on the bright places.`
        : `No place of the image supports ${of}.`
      part("heatmap").alt = part("heattext").textContent
      part("heat").scrollIntoView({block: "nearest"})
    })
  }
}
