import type { SeenDevice } from '../../plan/wireguard/device.ts';
import type { Edit } from '../../plan/wireguard/edit.ts';
import type { WireguardBackend } from './backend.ts';
import { GET, readDevice, setText } from './uapi.ts';
import { UapiSocket } from './uapi-socket.ts';

/** A device that a program in user space makes, such as wireguard-go. */
export class UserspaceWireguard implements WireguardBackend {
  readonly #name: string;
  readonly #socket: UapiSocket;

  /**
   * @param folder of the program's socket, `NAME.sock`
   * @throws CulvertError `wireguard_away` where nobody listens
   */
  constructor(folder: string, name: string) {
    this.#name = name;
    this.#socket = new UapiSocket(folder, `${name}.sock`);
  }

  /** Whether the program is there; cheap to ask. */
  get isAlive(): boolean {
    return this.#socket.isOpen;
  }

  read(): SeenDevice {
    return readDevice(this.#socket.ask(`read ${this.#name}`, GET));
  }

  edit(edits: readonly Edit[]): void {
    if (edits.length > 0) this.#socket.ask(`set ${this.#name}`, setText(edits));
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
