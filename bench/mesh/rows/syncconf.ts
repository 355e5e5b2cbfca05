import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Underlay } from '../../../lab/underlay.ts';
import type { MeshPeer } from '../../../src/mesh/peers.ts';
import { formatNumber } from '../../figure.ts';
import type { Row } from '../../row.ts';
import { median, medianRatio } from '../../statistics.ts';
import { MeshHost, PORT } from '../mesh-host.ts';
import { moved, strangers } from '../strangers.ts';
import { dumpedPeers, wgConfig } from '../wg-config.ts';
import { WgShell } from '../wg-shell.ts';

/** Subnets before these are the hosts' own. */
const FIRST_STRANGER = 8;

/**
 * Two devices of wireguard-go with the same peers. In each round one host has moved: the one device is told by the mesh,
 * the other by wg(8) from a file of all; who comes first changes. In the end wg(8) has to show the same of both.
 */
export const syncconf: Row = {
  name: 'syncconf',
  summary: 'one change among 5,000 peers against wg syncconf',
  async run({ stage, scale }) {
    using opened = new DisposableStack();
    const underlay = opened.use(new Underlay(2));
    const [ours, byHand] = underlay.hosts.map((place, index) => opened.use(new MeshHost(underlay, place, index)));
    if (ours === undefined || byHand === undefined) throw new Error('There are two');
    const peers = strangers(scale.peers, FIRST_STRANGER);
    for (const host of [ours, byHand]) host.know(...peers);
    const [ourShell, shell] = [ours, byHand].map(({ folder }) => opened.use(new WgShell(folder, stage.folder)));
    if (ourShell === undefined || shell === undefined) throw new Error('There are two');
    const file = join(stage.folder, 'syncconf.conf');
    const times = { ours: [] as number[], byHand: [] as number[] };
    const ask = {
      ours: (peer: MeshPeer): void => {
        const begin = performance.now();
        ours.know(peer);
        times.ours.push(performance.now() - begin);
      },
      byHand: async (): Promise<void> => {
        writeFileSync(file, wgConfig(byHand.privateKey, PORT, peers));
        times.byHand.push(await shell.run('syncconf', byHand.link.name, file));
      },
    };
    for (let round = 0; round < scale.shortRounds; round++) {
      const index = (round * 1009) % peers.length;
      const peer = moved(peers[index] as MeshPeer, round);
      peers[index] = peer;
      if (round % 2 === 0) ask.ours(peer);
      await ask.byHand();
      if (round % 2 === 1) ask.ours(peer);
    }
    const dumps = [
      await ourShell.read('show', ours.link.name, 'dump'),
      await shell.read('show', byHand.link.name, 'dump'),
    ].map(dumpedPeers);
    const [seen = [], wanted = []] = dumps;
    const differing =
      wanted.filter((line, index) => line !== seen[index]).length + Math.abs(wanted.length - seen.length);
    return [
      {
        figure: `one host's change among ${formatNumber(peers.length)} peers`,
        value: median(times.ours),
        unit: 'ms',
        reference: { name: 'wg syncconf', value: median(times.byHand) },
        // how many times as fast
        ratio: medianRatio(times.byHand, times.ours),
        target: { of: 'ratio', is: 'at least', bound: 10 },
      },
      {
        figure: 'the same: peers that wg show dump tells of otherwise afterwards',
        value: differing,
        unit: '',
        target: { of: 'value', is: 'at most', bound: 0 },
      },
    ];
  },
};
