/* "Replay" leads to another page, where an unsaved correction would be lost. If the form was changed,
 * it does what "Save and replay" does. */

const replay = document.querySelector('a[href$="/replay/"]');
const saveAndReplay = document.querySelector('[name="ingest_rejectedmessage_save_and_replay"]');

function isUnsaved({ value, defaultValue }) {
  // A form with errors shows what was typed, which is not saved anywhere.
  return value !== defaultValue || document.querySelector(".errornote") !== null;
}

if (replay && saveAndReplay) {
  replay.addEventListener("click", (event) => {
    if (!isUnsaved(saveAndReplay.form.elements.payload)) return;
    event.preventDefault();
    saveAndReplay.form.requestSubmit(saveAndReplay);
  });
}
