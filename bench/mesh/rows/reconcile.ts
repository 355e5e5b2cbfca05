import { Underlay } from '../../../lab/underlay.ts';
import { GET } from '../../../src/linux/wireguard/uapi.ts';
import { UapiSocket } from '../../../src/linux/wireguard/uapi-socket.ts';
import { formatNumber } from '../../figure.ts';
import type { Row } from '../../row.ts';
import { median, medianRatio, percentile } from '../../statistics.ts';
import { MeshHost } from '../mesh-host.ts';
import { Sent } from '../sent.ts';
import { strangers } from '../strangers.ts';

const FIRST_STRANGER = 8;
/** Rounds before it is measured: a daemon has compared thousands of times. */
const PRACTICE = 10;

/** What a host does every five seconds, with nothing to do; beside it what its device takes to answer, and nothing else. */
export const reconcile: Row = {
  name: 'reconcile',
  summary: 'compare a mesh of 5,000 peers that is as it should be',
  async run({ stage, scale }) {
    using opened = new DisposableStack();
    const underlay = opened.use(new Underlay(1));
    const [place] = underlay.hosts;
    if (place === undefined) throw new Error('There is one');
    const host = opened.use(new MeshHost(underlay, place, 0));
    host.know(...strangers(scale.peers, FIRST_STRANGER));
    const socket = opened.use(new UapiSocket(host.folder, `${host.link.name}.sock`));
    const times = { ours: [] as number[], answer: [] as number[] };
    let differences = 0;
    for (let round = -PRACTICE; round < scale.shortRounds; round++) {
      const begin = performance.now();
      differences += host.reconcile().length;
      const between = performance.now();
      socket.ask('see what an answer takes', GET);
      if (round < 0) continue;
      times.ours.push(between - begin);
      times.answer.push(performance.now() - between);
    }
    await using sent = await Sent.listen(stage, process.pid);
    host.reconcile();
    const { edits, writes, questions } = await sent.end();
    if (questions === 0) throw new Error('strace has heard nothing');
    const figure = `reconcile of an unchanged mesh of ${formatNumber(scale.peers)} peers`;
    const none = { unit: '', target: { of: 'value', is: 'at most', bound: 0 } } as const;
    return [
      {
        figure: `${figure}: p50`,
        value: median(times.ours),
        unit: 'ms',
        reference: { name: "its wireguard-go's answer alone", value: median(times.answer) },
        ratio: medianRatio(times.ours, times.answer),
        target: { of: 'value', is: 'at most', bound: 50 },
      },
      { figure: `${figure}: p90`, value: percentile(times.ours, 0.9), unit: 'ms' },
      { figure: `${figure}: differences found`, value: differences, ...none },
      { figure: `${figure}: writes, of ${questions} messages sent`, value: edits + writes.length, ...none },
    ];
  },
};
