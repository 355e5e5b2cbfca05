import type { NewEvent, Problem } from '../../sandbox/event.ts';
import type { Folders } from '../../tunnel/client/folders.ts';

/** What the thread is given. */
export type WatchData = {
  readonly folders: Folders;
  /** to be read from when it is to end */
  readonly bell: number;
};

/** What the thread tells. */
export type WatchNotice = { readonly event: NewEvent } | { readonly problems: readonly Problem[] };
