import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ClearHost, MTU } from '../lab/clear-host.ts';
import { DatagramSocket } from '../lab/datagram.ts';
import { waitUntil } from '../lab/wait.ts';
import { DevicePeers } from '../src/mesh/device-peers.ts';
import { DEFAULT_CLEAR_PORT, tunnelLink } from '../src/mesh/link.ts';
import type { MeshPeer } from '../src/mesh/peers.ts';
import { Tunnel } from '../src/mesh/tunnel.ts';
import { type Key, keyOf } from '../src/plan/wireguard/key.ts';
import { type ClearHosts, useClearHosts } from './support/clear-hosts.ts';

/* Hosts that can send each other in clear and encrypted: see the drawing in support/clear-hosts.ts. */

describe('hosts with ways in clear and encrypted', { timeout: 60_000 }, () => {
  let hosts: ClearHosts;
  let one: ClearHost;
  let two: ClearHost;
  useClearHosts((made) => {
    hosts = made;
    ({ one, two } = made);
  });

  it('are asked by the way that is chosen, whatever the routes are, and answer by it', async () => {
    hosts.join({ onLink: true });
    const keys = [keyPair(), keyPair()];
    const [first, second] = [one, two].map((host, index) => encrypted(host, keys[index] ?? keyPair()));
    if (first === undefined || second === undefined) throw new Error('There are two');
    first.know(second.peer);
    second.know(first.peer);
    const [link] = [tunnelLink('main', 'even')];
    const target = { address: two.meshAddress, port: 7000 };
    const asker = { address: one.meshAddress, port: 7001 };
    const devices = [link.name, 'wc-main', 'wd-main'];
    const listening = two.insideRouter(() =>
      devices.map((device) => hosts.opened.use(new DatagramSocket(target, device))),
    );
    const asking = one.insideRouter(() => devices.map((device) => hosts.opened.use(new DatagramSocket(asker, device))));
    const routes = [
      ['10.64.32.0/20', 'dev', link.name],
      ['10.64.32.0/20', 'via', '10.64.47.255', 'dev', 'wc-main', 'onlink'],
      ['10.64.32.0/20', 'via', '10.64.47.255', 'dev', 'wd-main', 'onlink'],
      undefined,
    ];
    for (const [turn, route] of routes.entries()) {
      if (route === undefined) one.underlay.run(one.router, 'ip', 'route', 'delete', '10.64.32.0/20');
      else one.underlay.run(one.router, 'ip', 'route', 'replace', ...route);
      for (const [index, device] of devices.entries()) {
        const text = `${turn} by ${device}`;
        asking[index]?.send(target, Buffer.from(text));
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        expect(await listening[index]?.until(text)).toEqual([text]);
        listening[index]?.send(asker, Buffer.from(`answer ${text}`));
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        expect(await asking[index]?.until(`answer ${text}`)).toEqual([`answer ${text}`]);
      }
    }
    const strays = [...listening, ...asking].flatMap((socket) => socket.received());
    expect(strays).toEqual([]);
  });

  type Keys = { readonly privateKey: Key; readonly publicKey: Key };

  /** WireGuard beside it. */
  function encrypted(
    host: ClearHost,
    { privateKey, publicKey }: Keys,
  ): { peer: MeshPeer; know: (peer: MeshPeer) => void } {
    const { kernel, place, subnet } = host;
    const link = tunnelLink('main', 'even');
    const folder = join(place.folder, 'wireguard');
    const keys = [{ rotation: 0, publicKey, port: 51_820 }];
    const { name, address } = place;
    const own = { name, subnet, address, clearPort: DEFAULT_CLEAR_PORT, isOnLink: false, keys };
    return host.inside(() => {
      hosts.opened.defer(() => host.inside(() => Tunnel.remove({ kernel, link, folder })));
      const tunnel = hosts.opened.use(new Tunnel({ kernel, link, mtu: MTU, backend: 'userspace', folder }));
      waitUntil(() => {
        tunnel.advance();
        return !tunnel.isStarting;
      });
      const device = new DevicePeers({ tunnel, link, rotation: 0, privateKey, listenPort: 51_820 }, []);
      device.reconcile(Date.now(), { removes: true });
      return { peer: own, know: (next) => void host.inside(() => device.update([{ former: undefined, next }])) };
    });
  }
});

function keyPair(): { readonly privateKey: Key; readonly publicKey: Key } {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  // the key is the end of what its encodings hold
  return {
    privateKey: keyOf(new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32))),
    publicKey: keyOf(new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32))),
  };
}
