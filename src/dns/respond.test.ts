import { DNSSEC_OK, encode } from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts';
import { NO_NAMES } from './names.ts';
import { respond, type Transport } from './respond.ts';
import { dataOf, edns, queryFor, type Reply, readReply } from './testing/ask.ts';
import { namesOf } from './testing/team.ts';

const MANY = Array.from({ length: 100 }, (_, index) => `10.64.0.${index + 1}`);

const names = namesOf({
  team: { web: ['10.11.0.1'], db: ['10.11.0.2', '10.64.16.9'], many: MANY },
  rivals: { web: ['10.11.0.7'], secret: ['10.11.0.8'] },
});
const ASKER = parseIpv4('10.11.0.1');
const RIVAL = parseIpv4('10.11.0.7');
const STRANGER = parseIpv4('10.11.0.99');

function ask(message: Buffer, asker = ASKER, transport: Transport = 'udp'): Reply {
  return readReply(respond(message, asker, transport, names)?.bytes);
}

const soa = [{ type: 'SOA', name: 'culvert', ttl: 0, data: { mname: 'culvert', minimum: 0 } }];
const nothing = { answers: [], flag_aa: true, authorities: soa };

describe('a name', () => {
  it('has all addresses of the members that bear it', () => {
    const reply = ask(queryFor('db.team.culvert'));
    expect(reply).toMatchObject({ id: 4711, rcode: 'NOERROR', flag_qr: true, flag_aa: true, flag_rd: true });
    expect(reply).toMatchObject({ flag_ra: false, flag_tc: false, authorities: [], additionals: [] });
    expect(dataOf(reply)).toEqual(['10.11.0.2', '10.64.16.9']);
    expect(reply.answers).toMatchObject([{ name: 'db.team.culvert', type: 'A', class: 'IN', ttl: 0 }, {}]);
  });

  it.each(['AAAA', 'TXT', 'MX', 'NS', 'SOA', 'PTR'] as const)('has no %s', (type) => {
    expect(ask(queryFor('db.team.culvert', type))).toMatchObject({ rcode: 'NOERROR', ...nothing });
  });

  it('has them for who asks for whatever there is, RFC 8482', () => {
    const query = queryFor('web.team.culvert');
    query.writeUInt16BE(255, query.length - 4);
    expect(dataOf(ask(query))).toEqual(['10.11.0.1']);
  });

  it('is repeated as asked, and found however it is written', () => {
    const query = queryFor('wEb.TEAM.Culvert');
    const reply = ask(query);
    expect(reply).toMatchObject({ questions: [{ name: 'wEb.TEAM.Culvert' }], answers: [{ name: 'wEb.TEAM.Culvert' }] });
    expect(dataOf(reply)).toEqual(['10.11.0.1']);
  });

  it.each([
    ['nobody.team.culvert', ASKER],
    ['x.web.team.culvert', ASKER],
    ['secret.rivals.culvert', ASKER],
    ['web.rivals.culvert', ASKER],
    ['rivals.culvert', ASKER],
    ['nosuch.culvert', ASKER],
    ['web.team.culvert', RIVAL],
    ['web.team.culvert', STRANGER],
    ['team.culvert', STRANGER],
    ['web.undefined.culvert', STRANGER],
  ])('%s is not there for %i', (name, asker) => {
    for (const type of ['A', 'AAAA', 'TXT'] as const) {
      expect(ask(queryFor(name, type), asker)).toMatchObject({ rcode: 'NXDOMAIN', ...nothing });
    }
  });

  it('of another’s group says no more than that of no group', () => {
    const [other, none] = ['web.rivals.culvert', 'web.absent.culvert'].map((name) => ask(queryFor(name)));
    expect({ ...other, questions: [] }).toEqual({ ...none, questions: [] });
  });

  it('that has a dot in a label is not the one with two', () => {
    const query = queryFor('web_team.culvert');
    query[query.indexOf('_')] = '.'.charCodeAt(0);
    expect(ask(query)).toMatchObject({ rcode: 'NXDOMAIN' });
  });
});

describe('the zone', () => {
  it.each([
    ['culvert', ASKER],
    ['culvert', STRANGER],
    ['team.culvert', ASKER],
    ['TEAM.culvert', ASKER],
  ])('%s is there for %i, with nothing in it', (name, asker) => {
    expect(ask(queryFor(name), asker)).toMatchObject({ rcode: 'NOERROR', ...nothing });
  });

  it('says where it begins', () => {
    expect(ask(queryFor('culvert', 'SOA'))).toMatchObject({ rcode: 'NOERROR', flag_aa: true, answers: soa });
  });

  it.each(['AXFR', 'IXFR'] as const)('is given to nobody as a whole by %s', (type) => {
    expect(ask(queryFor('culvert', type), ASKER, 'tcp')).toMatchObject({ rcode: 'REFUSED', answers: [] });
  });
});

describe('an address', () => {
  it('has the name of the member', () => {
    const reply = ask(queryFor('9.16.64.10.in-addr.arpa', 'PTR'));
    expect(reply).toMatchObject({ rcode: 'NOERROR', flag_aa: true });
    expect(dataOf(reply)).toEqual(['db.team.culvert']);
  });

  it('of a member has nothing else', () => {
    const name = '2.0.11.10.In-Addr.Arpa';
    expect(ask(queryFor(name, 'TXT'))).toMatchObject({ rcode: 'NOERROR', answers: [], authorities: [{ name }] });
    expect(ask(queryFor(name, 'SOA'))).toMatchObject({ rcode: 'NOERROR', answers: [{ name }] });
  });

  it.each([
    ['of another group', '7.0.11.10.in-addr.arpa'],
    ['of nobody', '1.2.0.192.in-addr.arpa'],
    ['in part', '0.11.10.in-addr.arpa'],
    ['with too much', '1.1.0.11.10.in-addr.arpa'],
    ['that is none', '1.0.11.010.in-addr.arpa'],
    ['past the end', '1.0.11.266.in-addr.arpa'],
  ])('%s is another server’s to tell', (_, name) => {
    expect(ask(queryFor(name, 'PTR'))).toMatchObject({ rcode: 'REFUSED', flag_aa: false, authorities: [] });
  });

  it('is told to nobody who is in no group', () => {
    expect(ask(queryFor('1.0.11.10.in-addr.arpa', 'PTR'), STRANGER)).toMatchObject({ rcode: 'REFUSED' });
  });
});

describe('what is another server’s to answer', () => {
  it.each(['example.org', 'culvert.example.org', 'notculvert', 'team', '.'])('%s is refused', (name) => {
    const reply = ask(queryFor(name));
    expect(reply).toMatchObject({ rcode: 'REFUSED', flag_aa: false, answers: [], authorities: [] });
    expect(reply.questions).toMatchObject([{ name }]);
  });

  it('is repeated to the bit where it is no text', () => {
    const query = queryFor('a_b.example');
    query[query.indexOf('_')] = 0xff;
    const bytes = respond(query, ASKER, 'udp', names)?.bytes;
    expect(bytes?.subarray(12)).toEqual(query.subarray(12));
    expect((bytes?.[3] ?? 0) & 0xf).toBe(5);
  });

  it.each(['CH', 'HS', 'CS', 'ANY'] as const)('of class %s is refused', (recordClass) => {
    const questions = [{ name: 'web.team.culvert', type: 'A', class: recordClass } as const];
    expect(ask(queryFor('', 'A', { questions }))).toMatchObject({ rcode: 'REFUSED', answers: [] });
  });
});

describe('EDNS', () => {
  it('is answered where it is spoken, and not otherwise', () => {
    const reply = ask(queryFor('web.team.culvert', 'A', { additionals: [edns(4096, 0, DNSSEC_OK)] }));
    const option = { type: 'OPT', udpPayloadSize: 1232, ednsVersion: 0, extendedRcode: 0, flag_do: true, options: [] };
    expect(reply.additionals).toMatchObject([option]);
    expect(ask(queryFor('example.org', 'A', { additionals: [edns(4096)] })).additionals).toHaveLength(1);
    expect(ask(queryFor('web.team.culvert')).additionals).toEqual([]);
  });

  it('of another version is told which one there is', () => {
    const reply = ask(queryFor('web.team.culvert', 'A', { additionals: [edns(4096, 1)] }));
    expect(reply).toMatchObject({ rcode: 'NOERROR', answers: [], additionals: [{ extendedRcode: 1, ednsVersion: 0 }] });
  });

  it('may bring options that mean nothing here', () => {
    const cookie = { code: 10, data: Buffer.alloc(8) };
    const additionals = [{ ...edns(1232), options: [cookie] } as ReturnType<typeof edns>];
    expect(dataOf(ask(queryFor('web.team.culvert', 'A', { additionals })))).toEqual(['10.11.0.1']);
  });

  it.each([
    ['twice', [edns(1232), edns(1232)]],
    ['by a name', [{ ...edns(1232), name: '.' }]],
  ])('%s', (how, additionals) => {
    const query = queryFor('web.team.culvert', 'A', { additionals });
    const named = Buffer.concat([query.subarray(0, -11), Buffer.from([1, 97]), query.subarray(-11)]);
    expect(ask(how === 'twice' ? query : named)).toMatchObject({ rcode: 'FORMERR', questions: [] });
  });
});

describe('an answer that does not fit', () => {
  it.each([
    ['no EDNS', [], 512],
    ['EDNS with less', [edns(100)], 512],
    ['EDNS', [edns(800)], 800],
    ['EDNS with more', [edns(65_535)], 1232],
  ])('has what fits and says that it is cut, with %s', (_, additionals, limit) => {
    const query = queryFor('many.team.culvert', 'A', { additionals });
    const bytes = respond(query, ASKER, 'udp', names)?.bytes;
    const reply = readReply(bytes);
    expect(reply).toMatchObject({ rcode: 'NOERROR', flag_tc: true, flag_aa: true });
    expect(reply.additionals).toHaveLength(additionals.length);
    expect(bytes?.length).toBeLessThanOrEqual(limit);
    // not one more would have found room
    expect(bytes?.length).toBeGreaterThan(limit - 'many.team.culvert'.length - 2 - 14);
    expect(MANY.slice(0, reply.answers?.length)).toEqual(dataOf(reply));
  });

  it('fits into TCP', () => {
    const reply = ask(queryFor('many.team.culvert'), ASKER, 'tcp');
    expect(reply.flag_tc).toBe(false);
    expect(dataOf(reply)).toEqual(MANY);
  });
});

describe('what is no question', () => {
  const query = queryFor('web.team.culvert');
  const withBytes = (at: number, ...bytes: number[]): Buffer => {
    const message = Buffer.from(query);
    message.set(bytes, at);
    return message;
  };

  it.each([
    ['an answer', withBytes(2, 0x81)],
    ['a part of a header', query.subarray(0, 11)],
    ['nothing', Buffer.alloc(0)],
    ['more than any question has', Buffer.concat([query, Buffer.alloc(5000)])],
  ])('is not answered: %s', (_, message) => {
    expect(respond(message, ASKER, 'udp', names)).toBeUndefined();
  });

  it.each([
    ['no question', encode({ id: 4711, type: 'query' })],
    [
      'two questions',
      queryFor('', 'A', {
        questions: [
          { name: 'a', type: 'A' },
          { name: 'b', type: 'A' },
        ],
      }),
    ],
    ['half a question', query.subarray(0, -5)],
    ['half a type', query.subarray(0, -3)],
    ['something behind the end', Buffer.concat([query, Buffer.from([0])])],
    ['more records than it has', withBytes(6, 0, 1)],
    ['as many records as a header can say', withBytes(6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ['a name that points into the header', Buffer.concat([withBytes(12, 0xc0, 0).subarray(0, 14), query.subarray(-4)])],
    ['a name that points to itself', Buffer.concat([withBytes(12, 0xc0, 12).subarray(0, 14), query.subarray(-4)])],
    ['a label of an unknown kind', withBytes(12, 0x40)],
    ['a name that is too long', queryFor(Array.from({ length: 5 }, () => 'x'.repeat(60)).join('.'))],
  ])('is malformed: %s', (_, message) => {
    const reply = ask(message);
    expect(reply).toMatchObject({ id: 4711, rcode: 'FORMERR', flag_qr: true, questions: [], answers: [] });
  });

  it.each([
    ['STATUS', 0x10],
    ['NOTIFY', 0x20],
    ['UPDATE', 0x28],
    ['OPCODE_15', 0x78],
  ])('asks for what is not done: %s', (opcode, flags) => {
    for (const message of [withBytes(2, flags), withBytes(2, flags).subarray(0, 12)]) {
      expect(ask(message)).toMatchObject({ id: 4711, rcode: 'NOTIMP', opcode, questions: [] });
    }
  });
});

it('has nothing for anybody where there are no groups', () => {
  const rcodes = ['web.team.culvert', 'culvert', '1.0.11.10.in-addr.arpa', 'example.org'].map(
    (name) => respond(queryFor(name), ASKER, 'udp', NO_NAMES)?.code,
  );
  expect(rcodes).toEqual(['NXDOMAIN', 'NOERROR', 'REFUSED', 'REFUSED']);
});

it('denies no name while it does not know all', () => {
  const some = namesOf({ team: { me: [formatIpv4(ASKER)], web: ['10.64.16.1'] } }, false);
  const rcodes = ['web.team.culvert', 'db.team.culvert', 'web.other.culvert'].map(
    (name) => respond(queryFor(name), ASKER, 'udp', some)?.code,
  );
  expect(rcodes).toEqual(['NOERROR', 'SERVFAIL', 'NXDOMAIN']);
});

it('fails where the names do, and says nothing', () => {
  const broken = {
    ...names,
    groupOf: () => {
      throw new Error('broken');
    },
  };
  expect(() => respond(queryFor('web.team.culvert'), ASKER, 'udp', broken)).toThrow('broken');
});
