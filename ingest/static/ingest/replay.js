/* "Replay" leads to another page, and would leave a correction behind that is not saved yet. Once the
 * form was changed it does what "Save and replay" does. */

const replay = document.querySelector('a[href$="/replay/"]');
const saveAndReplay = document.querySelector('[name="ingest_rejectedmessage_save_and_replay"]');

function isUnsaved({ value, defaultValue }) {
  // A form that was refused is shown with what was typed, which is saved nowhere.
  return value !== defaultValue || document.querySelector(".errornote") !== null;
}

if (replay && saveAndReplay) {
  replay.addEventListener("click", (event) => {
    if (!isUnsaved(saveAndReplay.form.elements.payload)) return;
    event.preventDefault();
    saveAndReplay.form.requestSubmit(saveAndReplay);
  });
}
