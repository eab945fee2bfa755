/** The feed of changes, as long as the page is open: what changed, whether it is connected, that some may be missed. */

export function follow(changed, connected, missed) {
  let source;
  let cursor;
  let lost = false;
  const start = () => {
    source?.close();
    if (document.hidden) return;
    source = new EventSource(cursor ? `/v1/changes?cursor=${encodeURIComponent(cursor)}` : '/v1/changes');
    source.onopen = () => {
      connected(true);
      if (lost) missed();
      lost = false;
    };
    source.onerror = () => {
      connected(false);
      const refused = source.readyState === EventSource.CLOSED; // also a cursor that is too old
      if (refused) cursor = undefined;
      lost ||= !cursor;
      if (refused) setTimeout(start, 5000);
    };
    source.addEventListener('change', (event) => {
      const change = JSON.parse(event.data);
      ({ cursor } = change);
      changed(change);
    });
  };
  // A tab that nobody sees leaves its connection to others, and goes on where it was.
  document.addEventListener('visibilitychange', start);
  start();
}

/** Call `work` soon, and once for all calls that come until then. */
export function gathered(work, ms) {
  let timer;
  return () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      work();
    }, ms);
  };
}
