import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Bell } from '../../linux/waiting/bell.ts';
import type { NewEvent, Problem } from '../../sandbox/event.ts';
import { type Folders, foldersOf } from '../../tunnel/client/folders.ts';
import { ProblemNews } from '../problem-news.ts';
import type { WatchNotice } from './notice.ts';

/** How often it is looked whether this host has had a tunnel: until then nobody need watch, and a thread is 20 MB. */
const LOOK_MS = 500;
/** For what it has begun; what is left then is the next daemon's. */
const END_MS = 10_000;

/** The tunnels of the root namespace as the main thread knows them: by the thread that watches over them. */
export class WatchedTunnels {
  readonly #emit: (event: NewEvent) => void;
  readonly #news: ProblemNews;
  #problems: readonly Problem[] = [];
  #starting: NodeJS.Timeout | undefined;
  #running: { readonly bell: Bell; readonly ended: Promise<void>; readonly thread: Worker } | undefined;
  #isClosing = false;

  /** @param emit hears what was taken away */
  constructor(emit: (event: NewEvent) => void) {
    this.#emit = emit;
    this.#news = new ProblemNews(() => this.#problems, emit);
  }

  /** Begins to watch, in a moment, or when there is a first tunnel. @param folders of the tunnels */
  begin(folders: Folders): void {
    const { common, state } = foldersOf(folders);
    this.#starting = setInterval(() => {
      if (!existsSync(common) && !existsSync(state)) return;
      clearInterval(this.#starting);
      this.#start(folders);
    }, LOOK_MS);
    this.#starting.unref();
  }

  problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Resolves when the thread has ended; where it is held up in what it does, it ends with the process. */
  async close(): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#starting);
    const running = this.#running;
    if (running === undefined) return;
    running.bell.ring();
    const over = new AbortController();
    const late = pause(END_MS, 'late', { signal: over.signal, ref: false }).catch(() => undefined);
    if ((await Promise.race([running.ended, late])) === 'late') {
      running.thread.unref();
      return;
    }
    over.abort();
    running.bell[Symbol.dispose]();
    this.#running = undefined;
  }

  #start(folders: Folders): void {
    try {
      const bell = new Bell();
      const thread = new Worker(new URL('watch-thread.ts', import.meta.url), {
        name: 'culvert-tunnels',
        workerData: { folders, bell: bell.fd },
      });
      thread.on('message', (notice: WatchNotice) => this.#hear(notice));
      thread.on('error', (error) => this.#lose(error.message));
      const ended = new Promise<void>((resolve) => {
        thread.once('exit', () => {
          if (!this.#isClosing) this.#lose('its thread has ended');
          resolve();
        });
      });
      this.#running = { bell, ended, thread };
    } catch (error) {
      this.#lose(error instanceof Error ? error.message : String(error));
    }
  }

  #hear(notice: WatchNotice): void {
    if ('event' in notice) this.#emit(notice.event);
    else this.#have(notice.problems);
  }

  #lose(reason: string): void {
    if (this.#problems.some(({ code }) => code === 'tunnels_unwatched')) return;
    const message = `Cannot watch who keeps tunnels any more: ${reason}; restart the daemon, the sandboxes run on`;
    this.#have([{ code: 'tunnels_unwatched', message }]);
  }

  #have(problems: readonly Problem[]): void {
    this.#problems = problems;
    this.#news.look();
  }
}
