/* "Replay" leads to another page, where an unsaved correction would be lost. If the form was changed,
 * it does what "Save and replay" does. */

const saveAndReplay = document.querySelector('[name="ingest_rejectedmessage_save_and_replay"]');

function isUnsaved({ value, defaultValue }) {
  // A form with errors shows what was typed, which is not saved anywhere.
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
