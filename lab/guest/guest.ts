import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CulvertError } from '../../src/errors.ts';
import { type Contents, find, guestImage } from './image.ts';
import { GuestKernel } from './kernel.ts';

/** ms: some seconds where the machine is idle; it emulates each instruction */
const BOOT_MS = 180_000;
const ANSWER_MS = 15_000;
const POWER_OFF_MS = 15_000;

/** seconds, of one command */
const RUN_S = 60;
/** seconds, of a guest */
const LIFETIME_S = 1800;

export type Equipment = {
  /** more than the little that it boots with */
  readonly contents?: Contents;
  readonly memory_MiB?: number;
  /** seconds, after which it ends by itself */
  readonly lifetime_s?: number;
};

export type GuestNetwork = {
  /** Of the namespace that has the TAP. */
  readonly netns: string;
  readonly tap: string;
  readonly mac: string;
  /** `ip=CLIENT::GATEWAY:NETMASK::DEVICE:off` */
  readonly bootArguments: string;
};

export type Result = { readonly status: number; readonly output: string };

type Waiting = { readonly resolve: (result: Result) => void; readonly reject: (error: Error) => void };

/**
 * A virtual machine behind a TAP: Debian's kernel and busybox in QEMU, every instruction emulated, so it needs no
 * hardware and no KVM. Commands go in by a serial line; the network is only what the TAP gives.
 */
export class Guest implements AsyncDisposable {
  readonly #folder: string;
  readonly #qemu: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #waiting = new Map<number, Waiting>();
  #lastCommand = 0;
  #errors = '';
  #failure: CulvertError | undefined;

  private constructor(folder: string, qemu: ChildProcess) {
    this.#folder = folder;
    this.#qemu = qemu;
    qemu.stderr?.on('data', (data) => (this.#errors += String(data)));
    // It may end while it is written to.
    qemu.stdin?.on('error', (error) => this.#fail(`its serial line: ${error.message}`));
    this.#exited = new Promise((resolve) => {
      qemu.once('error', (error) => {
        this.#fail(error.message);
        resolve();
      });
      qemu.once('close', (code, signal) => {
        this.#fail(`QEMU has ended (${signal ?? code})`);
        resolve();
      });
    });
    if (qemu.stdout !== null) createInterface(qemu.stdout).on('line', (line) => this.#answer(line));
  }

  /**
   * Boots one and waits until it takes commands.
   *
   * @param network none where it has its own loopback alone
   * @throws CulvertError `guest_unavailable`: the machine lacks something, which the message names; `guest_failed`
   */
  static async boot(
    network: GuestNetwork | undefined,
    { contents = {}, memory_MiB = 192, lifetime_s = LIFETIME_S }: Equipment = {},
  ): Promise<Guest> {
    const qemu = find('qemu-system-x86_64', 'qemu-system-x86');
    const kernel = GuestKernel.find();
    const image = guestImage(kernel, contents);
    const folder = mkdtempSync(join(tmpdir(), 'culvert-guest-'));
    const initrd = join(folder, 'initramfs');
    for (const piece of image) appendFileSync(initrd, piece);
    const machine = [
      ['-accel', 'tcg'],
      ['-machine', 'q35'],
      ['-m', String(memory_MiB)],
      ['-nodefaults', '-nographic', '-no-reboot'],
      ['-kernel', kernel.image],
      ['-initrd', initrd],
      ['-append', `console=ttyS0 quiet panic=-1 lifetime=${lifetime_s} ${network?.bootArguments ?? ''}`],
      ['-serial', `file:${join(folder, 'console')}`],
      ['-serial', 'stdio'],
      ...(network === undefined ? [] : networkOf(network)),
    ].flat();
    // The machine ends with this process, however this process ends.
    const mortal = ['setpriv', '--pdeathsig', 'KILL', qemu, ...machine];
    const [command = '', ...rest] = network === undefined ? mortal : ['nsenter', `--net=${network.netns}`, ...mortal];
    const guest = new Guest(folder, spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe'] }));
    try {
      await guest.#wait(0, 'boot', BOOT_MS);
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
    return guest;
  }

  /** Runs a command in the guest's shell; what it prints, errors too, and its exit code: 137 where it takes too long. */
  run(command: string, time_s: number = RUN_S): Promise<Result> {
    const number = ++this.#lastCommand;
    const result = this.#wait(number, command, 1000 * time_s + ANSWER_MS);
    const line = `${number} ${time_s} ${Buffer.from(command).toString('base64')}\n`;
    if (this.#failure === undefined) this.#qemu.stdin?.write(line);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.run('poweroff -f').catch(() => undefined);
    const killer = setTimeout(() => this.#qemu.kill('SIGKILL'), POWER_OFF_MS);
    await this.#exited;
    clearTimeout(killer);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #wait(number: number, command: string, time_ms: number): Promise<Result> {
    if (this.#failure !== undefined) throw this.#failure;
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    this.#waiting.set(number, { resolve, reject });
    const timer = setTimeout(() => reject(this.#error(`no answer to ${command} in ${time_ms} ms`)), time_ms);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(number);
    }
  }

  #answer(line: string): void {
    const [number, status, output = ''] = line.trim().split(' ');
    const result = { status: Number(status), output: Buffer.from(output, 'base64').toString() };
    this.#waiting.get(Number(number))?.resolve(result);
  }

  #fail(why: string): void {
    this.#failure ??= this.#error(why);
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
  }

  #error(why: string): CulvertError {
    const console = join(this.#folder, 'console');
    const shown = existsSync(console) ? readFileSync(console, 'utf8').slice(-4000) : '';
    return new CulvertError('guest_failed', `Cannot use the guest: ${why}\n${this.#errors}${shown}`);
  }
}

function networkOf({ tap, mac }: GuestNetwork): string[][] {
  return [
    ['-netdev', `tap,id=net,ifname=${tap},script=no,downscript=no`],
    ['-device', `virtio-net-pci,netdev=net,mac=${mac},romfile=`],
  ];
}
