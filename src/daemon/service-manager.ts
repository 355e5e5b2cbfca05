import { InputError } from '../errors.ts';
import { NotifySocket } from '../linux/notify-socket.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The service manager that runs this process (`Type=notify` in systemd.service(5)), as its environment tells: without
 * one every call does nothing.
 */
export class ServiceManager implements Disposable {
  readonly #socket: NotifySocket | undefined;
  readonly #watchdogMs: number | undefined;
  readonly #report: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param report takes note of signs of life that were not given
   * @throws InputError `notify_socket`, `watchdog`; SyscallError
   */
  constructor(environment: Environment, report: (error: unknown) => void) {
    const name = environment['NOTIFY_SOCKET'];
    this.#socket = name === undefined || name === '' ? undefined : new NotifySocket(name);
    this.#watchdogMs = watchdogMs(environment);
    this.#report = report;
  }

  /** @param status a line for people, shown by `systemctl status` */
  ready(status: string): void {
    this.#socket?.tell('READY=1', `STATUS=${status.replaceAll('\n', ' ')}`);
  }

  /** Ends the signs of life too. */
  stopping(): void {
    clearInterval(this.#timer);
    try {
      this.#socket?.tell('STOPPING=1');
    } catch (error) {
      // Whoever does not hear that we stop sees it soon.
      this.#report(error);
    }
  }

  /**
   * Gives a sign of life twice in each period that the service manager allows, from now on, each after `isAlive` has
   * answered: where it does not, or fails, there is none, and the service manager starts the daemon anew.
   */
  watch(isAlive: () => Promise<unknown>): void {
    const socket = this.#socket;
    if (this.#watchdogMs === undefined || socket === undefined) return;
    let isAsked = false;
    const ask = async (): Promise<void> => {
      if (isAsked) return;
      isAsked = true;
      try {
        await isAlive();
        socket.tell('WATCHDOG=1');
      } catch (error) {
        this.#report(error);
      } finally {
        isAsked = false;
      }
    };
    this.#timer = setInterval(() => void ask(), this.#watchdogMs / 2);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#socket?.[Symbol.dispose]();
  }
}

/** sd_watchdog_enabled(3): undefined where none is wanted of this process. */
function watchdogMs({ WATCHDOG_USEC: period, WATCHDOG_PID: pid }: Environment): number | undefined {
  if (period === undefined || (pid !== undefined && pid !== String(process.pid))) return undefined;
  if (!/^[1-9][0-9]{0,15}$/.test(period)) {
    const message = `Cannot keep a watchdog of WATCHDOG_USEC=${period}: want microseconds`;
    throw new InputError('watchdog', message, { field: 'WATCHDOG_USEC' });
  }
  return Number(period) / 1000;
}
