/* "Replay" leads to another page, and would leave a correction behind that is not saved yet. Once the
 * form was changed it does what "Save and replay" does. */

const saveAndReplay = document.querySelector('[name="ingest_rejectedmessage_save_and_replay"]');

function isUnsaved({ value, defaultValue }) {
  // A form that was refused is shown with what was typed, which is saved nowhere.
  return value !== defaultValue || document.querySelector(".errornote") !== null;
}

if (saveAndReplay) {
  // A narrow page has the link in a menu, too.
  for (const replay of document.querySelectorAll('a[href$="/replay/"]')) {
    replay.addEventListener("click", (event) => {
      if (!isUnsaved(saveAndReplay.form.elements.payload)) return;
      event.preventDefault();
      saveAndReplay.form.requestSubmit(saveAndReplay);
    });
  }
}
