// What a saved notebook shows of a widget: a picture of its last state. Stands before every widget's own text.
//
// Jupyter stores an output as it was first displayed, and where no kernel stands behind a widget it shows an error. So
// where the page lets us at the document (JupyterLab and Notebook 7 do), whatever is saved gets the newest picture that
// the kernel drew in place of the live view; and a page that is loaded while the kernel lives gets its views back.

const VIEW = "application/vnd.jupyter.widget-view+json";
const ALBUM = Symbol.for("interp.widgets.album"); // one to a document, however many widgets it shows
const PATIENCE = 60_000; // ms for which a picture that was late for a save is saved when it comes

// A notebook as it is to be saved. pictures: from a widget's id to {html, text, metadata}; without html the output's own stays.
export function withPictures(notebook, pictures) {
  const output = (one) => {
    const kept = pictures.get(one.data?.[VIEW]?.model_id);
    if (!kept) return one;
    const { [VIEW]: view, ...data } = one.data;
    const newest = kept.html ? { "text/html": kept.html, "text/plain": kept.text } : {};
    return { ...one, data: { ...data, ...newest }, metadata: { ...one.metadata, ...kept.metadata } };
  };
  const cell = (one) => (one.outputs ? { ...one, outputs: one.outputs.map(output) } : one);
  return { ...notebook, cells: notebook.cells.map(cell) };
}

function albumOf(document) {
  if (document[ALBUM]) return document[ALBUM];
  const album = { pictures: new Map(), late: new Map(), fits: new Map() };
  const write = document.model.toJSON.bind(document.model);
  document.model.toJSON = () => {
    const whole = write();
    try { return withPictures(whole, album.pictures); } catch (error) { console.warn("[interp] saved without pictures", error); return whole; }
  };
  document.saveState.connect((_, state) => {
    if (state !== "started") return;
    album.late.clear();
    for (const [id, fits] of album.fits) if (!fits()) album.late.set(id, Date.now());
  });
  return (document[ALBUM] = album);
}

// Shows the live widget again where a saved picture of it stands.
async function revive(document, id) {
  await document.ready;
  const { model } = document, { dirty } = model;
  for (const cell of model.cells) {
    for (let i = 0; i < (cell.outputs?.length ?? 0); i++) {
      const one = cell.outputs.get(i).toJSON();
      if (one.metadata?.interp?.model_id !== id || one.data[VIEW]) continue;
      cell.outputs.set(i, { ...one, data: { ...one.data, [VIEW]: { version_major: 2, version_minor: 0, model_id: id } } });
    }
  }
  model.dirty = dirty;
}

// A widget's `initialize`: once for each that this page knows of, shown or not.
export function kept({ model, signal }) {
  const document = model.widget_manager?.context;
  if (!document?.model?.toJSON || !document.saveState || !document.model.cells) return;
  const album = albumOf(document);
  let id = null;
  const put = () => {
    const picture = model.get("picture");
    if (!picture.model_id) return;
    const first = id === null;
    if (first) {
      id = picture.model_id;
      album.fits.set(id, () => signal.aborted || answersTo(model.get("picture"), (name) => model.get(name)));
      revive(document, id).catch((error) => console.warn("[interp]", error));
    }
    album.pictures.set(id, picture);
    if (first || !picture.html) return;
    document.model.dirty = true; // what was done with the mouse is worth a save, too
    const since = album.late.get(id);
    if (since === undefined || !album.fits.get(id)()) return;
    album.late.delete(id);
    if (Date.now() - since < PATIENCE && !document.isDisposed) document.save();
  };
  model.on("change:picture", put);
  put();
  model.send({ do: "page" });
}
