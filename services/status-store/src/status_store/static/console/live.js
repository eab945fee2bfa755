/** The feed of changes, as long as the page is open: what changed, and whether the feed is connected. */

export function follow(changed, connected) {
  let source;
  let cursor;
  const start = () => {
    source?.close();
    if (document.hidden) return;
    source = new EventSource(cursor ? `/v1/changes?cursor=${encodeURIComponent(cursor)}` : '/v1/changes');
    source.onopen = () => connected(true);
    source.onerror = () => {
      connected(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(start, 5000);
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
