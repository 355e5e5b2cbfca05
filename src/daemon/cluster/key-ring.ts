import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { TunnelOptions } from '../../mesh/devices.ts';
import { readPrivateKey } from '../../mesh/keys.ts';
import type { HostKey } from '../../mesh/peers.ts';
import { tunnelWay } from '../../mesh/way.ts';
import { publicKeyOf } from '../../plan/wireguard/private-key.ts';

const FILE = /^wireguard(?:-(\d+))?\.key$/;

/** The host's private keys, a file for each rotation, and the ports that they are used at. */
export class KeyRing {
  readonly #stateDir: string;
  readonly #port: number;

  /** @param port UDP, of every other rotation; those between have the next one */
  constructor(stateDir: string, port: number) {
    this.#stateDir = stateDir;
    this.#port = port;
  }

  /** What makes the device of a rotation. */
  tunnel(rotation: number): TunnelOptions {
    return { rotation, keyFile: this.#file(rotation), port: this.#portOf(rotation) };
  }

  /** What others are told of it. A key that is not there is made. @throws CulvertError `key_file` */
  key(rotation: number): HostKey {
    return { rotation, publicKey: publicKeyOf(readPrivateKey(this.#file(rotation))), port: this.#portOf(rotation) };
  }

  /** Nothing is ever encrypted with older ones again; a run that was killed may have left some. */
  forgetBefore(rotation: number): void {
    for (const name of readdirSync(this.#stateDir)) {
      const found = FILE.exec(name);
      if (found !== null && Number(found[1] ?? 0) < rotation) rmSync(join(this.#stateDir, name), { force: true });
    }
  }

  #file(rotation: number): string {
    return join(this.#stateDir, rotation === 0 ? 'wireguard.key' : `wireguard-${rotation}.key`);
  }

  #portOf(rotation: number): number {
    return tunnelWay(rotation) === 'even' ? this.#port : this.#port + 1;
  }
}
