// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/simulation.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace sipheal::testing::generator {

std::vector<sip::CapturedMessage> GeneratedCall::Messages() const {
  std::vector<sip::CapturedMessage> messages;
  messages.reserve(copies.size());
  for (const Copy& copy : copies) messages.push_back(copy.message);
  return messages;
}

GeneratedCall Generate(std::uint64_t seed) { return Simulation(seed).Run(); }

Simulation::Simulation(std::uint64_t seed)
    : dice_(seed),
      wide_(Dice(~seed).Next()),
      odd_(Dice(~seed ^ 0x5555).Next()),
      now_us_(1'700'000'000'000'000) {
  call_.seed = seed;
}

GeneratedCall Simulation::Run() {
  MakeWorld();
  try {
    if (call_.server_called) {
      ServerCalls();
    } else {
      PeerCalls();
    }
    while (!finished_) {
      Leg* alive = nullptr;
      for (const auto& leg : call_.legs) {
        if (leg->stage == Stage::kConfirmed && leg->end == sip::DialogEnd::kNone) alive = leg.get();
      }
      if (alive == nullptr) break;
      Act(*alive);
    }
  } catch (const ServerDied&) {
    Tell("the server dies");
  }
  call_.end_us = now_us_;
  // A copy that was on its way when the server died, was not captured.
  std::erase_if(call_.copies, [this](const Copy& copy) {
    return copy.message.time.time_since_epoch().count() > now_us_;
  });
  if (call_.forged) Forge();
  if (odd_.Chance(6)) SubscribeAlone();
  std::stable_sort(call_.copies.begin(), call_.copies.end(),
                   [](const Copy& a, const Copy& b) { return a.message.time < b.message.time; });
  Lose();
  if (!call_.flooded && dice_.Chance(30)) dice_.Shuffle(call_.copies);
  for (std::size_t i = 0; i < call_.copies.size(); ++i) call_.copies[i].message.sequence = i + 1;
  return std::move(call_);
}

// What arrives late, from a retransmission, and without the copy that was in time, would show an
// order in which things did not happen; nobody could tell. Such copies are lost, too.
void Simulation::Lose() {
  std::vector<std::int64_t> in_time(call_.notes.size() + 1, INT64_MAX);
  for (const Copy& copy : call_.copies) {
    if (copy.note < 0) continue;
    std::int64_t& first = in_time[static_cast<std::size_t>(copy.note)];
    first = std::min(first, copy.message.time.time_since_epoch().count());
  }
  std::vector<bool> captured(call_.notes.size(), false);
  std::erase_if(call_.copies, [&](const Copy& copy) {
    if (copy.note < 0) return !copy.forged && odd_.Chance(call_.loss_percent);
    const auto note = static_cast<std::size_t>(copy.note);
    const bool late = copy.message.time.time_since_epoch().count() >= in_time[note + 1];
    if (dice_.Chance(call_.loss_percent) || (late && !captured[note])) return true;
    captured[note] = true;
    return false;
  });
  call_.survives = captured;
}

void Simulation::MakeWorld() {
  call_.server_called = dice_.Chance(50);
  const std::uint32_t kind = dice_.Below(100);
  if (kind >= 85) {
    call_.forged = true;
  } else if (kind >= 45) {
    call_.loss_percent = dice_.Range(1, 20);
  }
  if (call_.forged && wide_.Chance(50)) call_.loss_percent = wide_.Range(1, 20);
  budget_ = static_cast<int>(dice_.Chance(70) ? dice_.Range(4, 45) : dice_.Range(1, 12));
  ipv6_ = dice_.Chance(15);
  if (dice_.Chance(10)) transport_ = sip::Transport::kTcp;
  if (wide_.Chance(8)) {
    static constexpr sip::Transport kOthers[] = {sip::Transport::kTls, sip::Transport::kTls,
                                                 sip::Transport::kWs, sip::Transport::kWss};
    transport_ = wide_.Pick(kOthers);
    secure_ = sip::IsSecure(transport_) && wide_.Chance(40);
  }
  subscribes_ = wide_.Chance(12);
  renames_ = wide_.Chance(10);
  websocket_ = transport_ == sip::Transport::kWs || transport_ == sip::Transport::kWss;
  call_.transport = transport_;
  call_.connects = sip::IsStream(transport_) && odd_.Chance(60);
  server_ = MakeUserAgent(true);
  peer_ = MakeUserAgent(false);
  const UserAgent& callee = call_.server_called ? peer_ : server_;
  call_.secure = callee.identity.uri.starts_with("sips:");
  call_.call_id = dice_.Hex(10) + (dice_.Chance(80) ? "@" + peer_.ip : "-<x>\"{}?");
  call_.server.addresses.push_back({sip::Endpoint::Parse(server_.address())->ip,
                                    static_cast<std::uint16_t>(server_.port),
                                    sip::Transport::kUnknown});
  MakeProxies();
  MakeReferences();
}

// What points to other legs of the call, and keys of the media.
void Simulation::MakeReferences() {
  sip::DialogReferences& references = call_.references;
  if (odd_.Chance(5)) {
    references.replaces = odd_.Hex(8) + "@192.0.2.77;to-tag=" + odd_.Hex(4) + ";from-tag=7";
    references_.push_back("Replaces: " + references.replaces);
  }
  if (odd_.Chance(5)) {
    references.session_id = odd_.Hex(32);
    references_.push_back("Session-ID: " + references.session_id + ";remote=" + odd_.Hex(32));
  }
  if (odd_.Chance(5)) {
    references.charging_id = odd_.Hex(12);
    references_.push_back("P-Charging-Vector: icid-value=" + references.charging_id +
                          ";orig-ioi=example.com");
  }
  if (odd_.Chance(5)) {
    references.other_call_id = odd_.Hex(10) + "@192.0.2.10";
    references_.push_back((odd_.Chance(50) ? "X-CID: " : "X-Call-ID: ") + references.other_call_id);
  }
  if (odd_.Chance(2)) {
    call_.media_security.sdes = true;
    media_security_ += "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + odd_.Hex(40) + "\r\n";
  }
  if (odd_.Chance(2)) {
    call_.media_security.dtls = true;
    media_security_ += "a=fingerprint:sha-256 AA:BB\r\n";
  }
  if (odd_.Chance(2)) {
    call_.media_security.ice = true;
    media_security_ += "a=ice-ufrag:" + odd_.Hex(4) + "\r\n";
  }
  server_.session.more = peer_.session.more = media_security_;
}

std::string Simulation::MakeUri(const std::string& user, const std::string& host) {
  static constexpr const char* kUsers[] = {"", ";x=1", "%61", "+1555", "!$&'", "-_.~"};
  static constexpr const char* kParams[] = {"", "", "", ";user=phone", ";x", ";method=INFO"};
  return (secure_ ? "sips:" : "sip:") + user + dice_.Pick(kUsers) + '@' + host +
         dice_.Pick(kParams);
}

UserAgent Simulation::MakeUserAgent(bool is_server) {
  static constexpr const char* kDisplays[] = {"",
                                              "",
                                              "Alice",
                                              "Alice van Dijk",
                                              "\"Bob\"",
                                              "\"Doe, Jane\"",
                                              "\"a \\\"b\\\" <sip:c@d>;tag=x\""};
  UserAgent agent;
  agent.ipv6 = ipv6_;
  const std::string number = std::to_string(is_server ? 10 : 20 + call_.legs.size());
  agent.ip = is_server ? (ipv6_ ? "2001:db8::" : "192.0.2.") + number
                       : (ipv6_ ? "2001:db8:1::" : "198.51.100.") + number;
  if (!is_server && dice_.Chance(30)) agent.port = static_cast<int>(dice_.Range(1024, 65000));
  agent.identity.display = dice_.Pick(kDisplays);
  agent.identity.uri = dice_.Chance(8) ? "tel:+1-555-" + number
                                       : MakeUri(is_server ? "pbx" : "phone", "example.com");
  if (dice_.Chance(10)) agent.identity.params = ";p=\"a;tag=b\"";
  agent.identity.tag = dice_.Hex(8);
  if (secure_) agent.scheme = "sips:";
  agent.host = OddHost(agent, is_server);
  if (is_server) {
    agent.contact = agent.ContactUri(dice_.Chance(30) ? "" : "asterisk@");
  } else {
    static constexpr const char* kTails[] = {"",
                                             "",
                                             "",
                                             ";transport=udp",
                                             ";ob",
                                             ";gr=urn:uuid:f81d",
                                             ";rinstance=5e;x",
                                             ";method=BYE;x=1?Subject=evil"};
    if (websocket_) agent.name = wide_.Hex(12) + ".invalid";
    agent.contact = agent.ContactUri(dice_.Chance(10) ? "" : "u%20s;er@");
    const std::string tail = dice_.Pick(kTails);
    if (!websocket_ || !tail.starts_with(";transport")) agent.contact += tail;
  }
  if (odd_.Chance(20)) {
    // The one of a server behind a NAT, or that of a phone; none of it is where anybody is.
    static constexpr const char* kSeenAs[] = {";received=203.0.113.200;rport=40000",
                                              ";rport=5060;received=203.0.113.201", ";rport=61000",
                                              ";received=203.0.113.202"};
    agent.seen_as = odd_.Pick(kSeenAs);
  }
  agent.session.user = is_server ? "root" : "-";
  agent.session.id = std::to_string(dice_.Range(1, 4'000'000'000u));
  agent.session.version = dice_.Chance(20) ? 14'000'000'000'000'000'000u : dice_.Range(0, 99999);
  agent.session.address = agent.ip;
  agent.session.port = static_cast<int>(dice_.Range(10000, 20000));
  agent.session.ipv6 = ipv6_;
  agent.holds_with_zero = !is_server && dice_.Chance(10);
  Style& style = agent.style;
  style.compact = dice_.Chance(15);
  style.upper = dice_.Chance(5);
  style.space_colon = dice_.Chance(5);
  style.folds = dice_.Chance(10);
  style.comma_lists = dice_.Chance(30);
  style.bare_uris = dice_.Chance(10);
  style.route_params = dice_.Chance(10);
  style.routes_last = dice_.Chance(20);
  style.zeros_in_cseq = dice_.Chance(5);
  style.odd_case = wide_.Chance(5);
  style.folds_values = wide_.Chance(5);
  style.via_row = wide_.Chance(10);
  style.bare_contact = wide_.Chance(8);
  style.any_order = odd_.Chance(10);
  style.mixed_compact = odd_.Chance(8);
  return agent;
}

// Names in any letter case, and addresses written otherwise than most would (RFC 4291 2.2).
std::string Simulation::OddHost(const UserAgent& agent, bool is_server) {
  if (!odd_.Chance(12)) return "";
  if (odd_.Chance(50)) {
    if (is_server) call_.server.host_names.push_back("pbx.Example.COM");
    return is_server ? "PBX.example.com" : "Phone.EXAMPLE.net";
  }
  if (!agent.ipv6) return "";
  const std::string low = agent.ip.substr(agent.ip.rfind(':') + 1);
  return odd_.Chance(50)
             ? "[2001:DB8:" + std::string(is_server ? "0" : "1") + ":0:0:0:0:" + low + ']'
             : "[2001:0db8:000" + std::string(is_server ? "0" : "1") + "::00" + low + ']';
}

void Simulation::MakeProxies() {
  const std::uint32_t count = dice_.Chance(40) ? 0 : dice_.Range(1, 3);
  for (std::uint32_t i = 0; i < count; ++i) {
    Proxy proxy;
    const std::string number = std::to_string(i + 1);
    const std::string ip = ipv6_ ? "[2001:db8:2::" + number + ']' : "203.0.113." + number;
    proxy.address = ip + ":5060";
    proxy.loose = !dice_.Chance(15);
    // A proxy to which a phone holds a WebSocket cannot leave the call (RFC 7118 5).
    proxy.records = !dice_.Chance(15) || websocket_;
    proxy.records_later = dice_.Chance(30);
    proxy.mirrors_in_1xx = !dice_.Chance(10);
    static constexpr const char* kLoose[] = {";lr", ";lr", ";lr=on", ";ftag=x;lr=true",
                                             ";lr;did=a.b1"};
    static constexpr const char* kStrict[] = {"", ";lrx=1", ";transport=udp"};
    const std::string tail = proxy.loose ? dice_.Pick(kLoose) : dice_.Pick(kStrict);
    const std::string scheme = secure_ ? "sips:" : "sip:";
    proxy.toward_caller = scheme + ip + tail;
    proxy.toward_callee = proxy.toward_caller;
    if (proxy.loose && dice_.Chance(25)) {
      proxy.toward_callee = scheme + "out@" + ip + ":5080" + tail;
      proxy.twice = dice_.Chance(60);
    }
    chain_.proxies.push_back(proxy);
  }
}

// A request of this side: it had what was sent to it before.
void Simulation::GoesOn(Leg& leg, bool by_server, int id) {
  const Change::By by = by_server ? Change::By::kServer : Change::By::kPeer;
  for (std::vector<Change>& changes : leg.history) {
    for (Change& change : changes) {
      if (change.implied_by == by || change.implied_by == Change::By::kAnybody) {
        change.later.push_back(id);
      }
    }
  }
}

void Simulation::IsConfirmed(Leg& leg, int id) {
  for (std::vector<Change>& changes : leg.history) {
    for (Change& change : changes) {
      if (change.implied_by == Change::By::kAnybody) change.later.push_back(id);
    }
  }
}

Leg& Simulation::AddLeg(int like) {
  auto leg = std::make_unique<Leg>();
  leg->server = server_;
  leg->peer = like == 0 ? peer_ : MakeUserAgent(false);
  leg->peer.identity.uri = peer_.identity.uri;
  leg->peer.identity.display = peer_.identity.display;
  leg->peer.identity.params = peer_.identity.params;
  leg->chain = chain_;
  leg->peer.session.more = media_security_;
  leg->first_ip = leg->peer.ip;
  call_.legs.push_back(std::move(leg));
  return *call_.legs.back();
}

int Simulation::LegNumber(const Leg& leg) const {
  for (std::size_t i = 0; i < call_.legs.size(); ++i) {
    if (call_.legs[i].get() == &leg) return static_cast<int>(i);
  }
  return kAllLegs;
}

std::string Simulation::ViaOf(const UserAgent& agent, const std::string& branch) const {
  std::string transport(sip::ToString(transport_));
  for (char& c : transport) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "SIP/2.0/" + transport + ' ' + agent.sent_by() + ";rport;branch=" + branch;
}

// Methods that refresh the target (rule 4.1).
bool IsRefresh(const std::string& method) {
  return method == "INVITE" || method == "UPDATE" || method == "REFER" || method == "SUBSCRIBE" ||
         method == "NOTIFY";
}

// By address, in Contact and Record-Route.
std::vector<std::string> HostsNamedIn(const Message& message) {
  std::vector<std::string> hosts;
  std::vector<std::string> uris = message.record_route;
  if (!message.contact.empty()) uris.push_back(message.contact);
  for (const std::string& uri : uris) {
    const std::size_t colon = uri.find(':') + 1;
    const std::size_t at = uri.find('@');
    const std::size_t begin = at == std::string::npos ? colon : at + 1;
    const std::size_t end =
        uri[begin] == '[' ? uri.find(']', begin) + 1 : uri.find_first_of(":;?", begin);
    const auto ip = sip::IpAddress::Parse(uri.substr(begin, end - begin));
    if (ip) hosts.push_back(ip->ToString());
  }
  return hosts;
}

int Simulation::Capture(const Message& message, bool sent, const std::string& hop, Note note) {
  if (static_cast<int>(call_.notes.size()) >= budget_) throw ServerDied{};
  Pause(300, 50'000);
  const int id = static_cast<int>(call_.notes.size());
  note.sent = sent;
  call_.notes.push_back(note);
  call_.times.push_back(now_us_);
  call_.hops.push_back(hop);
  call_.statuses.push_back(message.status);
  call_.named_hosts.push_back(HostsNamedIn(message));
  Copy copy;
  copy.note = id;
  sip::CapturedMessage& captured = copy.message;
  captured.bytes = Render(message, sent ? server_.style : peer_.style);
  captured.source = *sip::Endpoint::Parse(sent ? OwnEnd(hop) : hop);
  captured.destination = *sip::Endpoint::Parse(sent ? hop : OwnEnd(hop));
  captured.transport = transport_;
  captured.time = sip::CaptureTime(std::chrono::microseconds(now_us_));
  const bool again = dice_.Chance(8);
  const bool mirrored = dice_.Chance(3);
  call_.copies.push_back(copy);
  if (again) {
    copy.message.time += std::chrono::microseconds(dice_.Range(100'000, 900'000));
    call_.copies.push_back(copy);
  }
  if (mirrored) {
    copy.message.time += std::chrono::microseconds(dice_.Range(1, 300));
    call_.copies.push_back(copy);
  }
  std::string line = std::to_string(id) + (sent ? " S>P " : " P>S ");
  line += message.request ? message.method : std::to_string(message.status) + ' ' + message.method;
  Tell(line + ' ' + std::to_string(message.cseq));
  return id;
}

LedgerEntry& Simulation::EntryOf(Leg& leg, const Transaction& transaction) {
  const int number = LegNumber(leg);
  const Message& request = transaction.at_server;
  for (LedgerEntry& entry : call_.ledger) {
    if (entry.leg == number && entry.by_server == transaction.by_server &&
        entry.cseq == request.cseq && entry.method == request.method) {
      return entry;
    }
  }
  LedgerEntry& added = call_.ledger.emplace_back();
  added.leg = number;
  added.by_server = transaction.by_server;
  added.cseq = request.cseq;
  added.method = request.method;
  added.request = transaction.id;
  added.hop = transaction.hop;
  added.contact = request.contact;
  return added;
}

void Simulation::Heard(Leg& leg, const Transaction& transaction, int id) {
  const std::int64_t when = call_.times[static_cast<std::size_t>(id)];
  if (when < leg.heard_us) return;
  leg.heard_us = when;
  leg.heard_from = transaction.hop;
}

// What the peer can do, now and then, and not always the same. It is told where calls are made (RFC
// 3261 20.5, 20.37).
void Simulation::Says(Leg& leg, Message* message) {
  if (message->method != "INVITE") return;
  static constexpr const char* kKnowsChanges = "timer, from-change";
  static constexpr const char* kSupported[] = {"timer", "replaces, timer", "100rel"};
  static constexpr const char* kAllow[] = {"INVITE, ACK, BYE, CANCEL",
                                           "INVITE, ACK, BYE, CANCEL, UPDATE, REFER"};
  if (renames_) {
    leg.supported = kKnowsChanges;
    message->extra.push_back("Supported: " + leg.supported);
  } else if (dice_.Chance(10)) {
    leg.supported = dice_.Pick(kSupported);
    message->extra.push_back("Supported: " + leg.supported);
  }
  if (dice_.Chance(10)) {
    leg.allow = dice_.Pick(kAllow);
    message->extra.push_back("Allow: " + leg.allow);
  }
}

std::string Simulation::Hop(const std::string& proxy, const UserAgent& peer, bool by_server) {
  const std::string listens = proxy.empty() ? peer.address() : proxy;
  if (!call_.connects) return listens;
  Connection& connection = connections_[listens];
  // A WebSocket lasts as long as the phone is there.
  if (connection.hop.empty() || (!websocket_ && odd_.Chance(8))) {
    const std::string port = std::to_string(odd_.Range(32'768, 60'999));
    const auto from_port = [&port](const std::string& address) {
      return address.substr(0, address.rfind(':') + 1) + port;
    };
    connection = by_server ? Connection{listens, from_port(server_.address())}
                           : Connection{from_port(listens), server_.address()};
  }
  return connection.hop;
}

std::string Simulation::OwnEnd(const std::string& hop) const {
  for (const auto& [listens, connection] : connections_) {
    if (connection.hop == hop) return connection.own;
  }
  return server_.address();
}

Transaction Simulation::Send(Leg& leg, bool by_server, Message request, Note note) {
  Transaction transaction;
  transaction.by_server = by_server;
  const std::string branch = Branch();
  const std::string supported = leg.supported;
  const std::string allow = leg.allow;
  if (!by_server) Says(leg, &request);
  request.via = {ViaOf(Agent(leg, by_server), branch)};
  const bool from_caller = by_server == call_.server_called;
  Message arrived = leg.chain.Forward(request, from_caller, false, branch);
  // The proxies work by their own rules; that the request arrives shows that the dialog is right.
  if (!arrived.route.empty() ||
      RequestUriOf(arrived.uri) != RequestUriOf(DialogOf(leg, by_server).target)) {
    throw std::logic_error("the generated request does not arrive: " + arrived.uri +
                           " instead of " + RequestUriOf(DialogOf(leg, by_server).target));
  }
  transaction.hop = Hop(leg.chain.Neighbour(call_.server_called, false), leg.peer, by_server);
  transaction.at_server = by_server ? std::move(request) : arrived;
  transaction.at_peer = by_server ? std::move(arrived) : request;
  note.leg = LegNumber(leg);
  if (by_server) note.local_seq = transaction.at_server.cseq;
  try {
    transaction.id = Capture(transaction.at_server, by_server, transaction.hop, note);
  } catch (const ServerDied&) {
    leg.supported = supported;
    leg.allow = allow;
    throw;
  }
  if (by_server) leg.last_hop = transaction.hop;
  if (by_server && transaction.at_server.method == "INVITE") leg.redirects.clear();
  if (by_server && transaction.at_server.method != "ACK") {
    // The server's own word on both; but in what may change a name, its own is not in force yet.
    const auto shows = [&](std::vector<Naming>& names, const Party& party) {
      if (!names.empty() && names.back().party.uri == party.uri) {
        names.back().shown.push_back({transaction.id});
      }
    };
    shows(leg.remote_names, transaction.at_server.to);
    if (transaction.at_server.method != "INVITE" && transaction.at_server.method != "UPDATE") {
      shows(leg.local_names, transaction.at_server.from);
    }
  }
  if (transaction.at_server.method != "ACK") {
    GoesOn(leg, by_server, transaction.id);
    EntryOf(leg, transaction);
    if (by_server && IsRefresh(transaction.at_server.method)) {
      leg.local_target = transaction.at_server.contact;
    }
  }
  if (by_server && transaction.at_server.method != "PRACK")
    ShowsRouteAndTarget(leg, transaction.at_server.method, transaction.id);
  return transaction;
}

int Simulation::Answer(Leg& leg, const Transaction& request, int status,
                       const AnswerOptions& options, Note note) {
  const bool by_server = !request.by_server;
  const UserAgent& agent = Agent(leg, by_server);
  Message response = ResponseTo(request.received(), status, options.to_tag);
  if (options.contact) response.contact = agent.contact;
  if (options.contact && !by_server && odd_.Chance(3)) {
    response.second_contact = "sip:second@203.0.113.99";
  }
  if (!options.other_contact.empty()) response.contact = options.other_contact;
  if (options.session != nullptr) response.sdp = options.session->Text();
  response.extra = options.extra;
  if (options.rseq != 0) {
    response.extra.push_back("Require: 100rel");
    response.extra.push_back("RSeq: " + std::to_string(options.rseq));
  }
  if (renames_ && by_server && response.method == "INVITE" && status < 300) {
    response.extra.push_back("Supported: from-change");
  }
  const std::string supported = leg.supported;
  const std::string allow = leg.allow;
  // Unreliable answers of one status are one message, of which the first counts (rule 11.5).
  if (!by_server && (status >= 200 || options.rseq != 0)) Says(leg, &response);
  response.via = request.at_server.via;
  // The Via of who asked, filled in by the next one (rule 3.9).
  const std::string& seen_as = Agent(leg, request.by_server).seen_as;
  std::string& via = by_server ? response.via.back() : response.via.front();
  if (const std::size_t at = via.find(";rport;"); at != std::string::npos && !seen_as.empty()) {
    via.replace(at, 6, seen_as);
  }
  if (!by_server) leg.chain.Return(&response);
  note.leg = LegNumber(leg);
  note.reliable = options.rseq != 0;
  note.described = options.session != nullptr;
  if (status > 100) {
    if (request.by_server) note.local_seq = request.at_server.cseq;
    if (!request.by_server && status != 500) note.remote_seq = request.at_server.cseq;
  }
  if (by_server && options.session != nullptr) note.sdp_version = options.session->version;
  int id;
  try {
    id = Capture(response, by_server, request.hop, note);
  } catch (const ServerDied&) {
    leg.supported = supported;
    leg.allow = allow;
    throw;
  }
  leg.second_contact |= !response.second_contact.empty();
  LedgerEntry& entry = EntryOf(leg, request);
  if (!by_server && status > 100) Heard(leg, request, id);
  if (by_server && status >= 200 && status < 300) Heard(leg, request, request.id);
  if (status >= 200) {
    entry.final = id;
    entry.status = status;
  } else {
    entry.provisional.push_back(id);
    if (options.rseq != 0 && !by_server) entry.reliable.push_back({id, -1});
  }
  if (by_server && status > 100 && status < 300 && !response.contact.empty() &&
      IsRefresh(request.at_server.method)) {
    leg.local_target = response.contact;
  }
  // It shows that the dialog was confirmed, too; but not what its sender had been sent.
  if (leg.stage == Stage::kConfirmed) IsConfirmed(leg, id);
  return id;
}

int Simulation::AckOf2xx(Leg& leg, const Transaction& invite, const Session* session) {
  Message ack = DialogOf(leg, invite.by_server).Ack(invite.at_server.cseq);
  Note note;
  if (session != nullptr) {
    ack.sdp = session->Text();
    if (invite.by_server) note.sdp_version = session->version;
  }
  const int id = Send(leg, invite.by_server, std::move(ack), note).id;
  EntryOf(leg, invite).ack = id;
  return id;
}

int Simulation::AckOfFailure(Leg& leg, const Transaction& invite, const std::string& to_tag) {
  Message ack;
  ack.method = "ACK";
  ack.cseq = invite.at_server.cseq;
  ack.uri = invite.at_server.uri;
  ack.route = invite.at_server.route;
  ack.via = {invite.at_server.via.front()};
  ack.from = invite.at_server.from;
  ack.to = invite.at_server.to;
  if (ack.to.tag.empty()) ack.to.tag = to_tag;
  ack.call_id = call_.call_id;
  Note note;
  note.leg = LegNumber(leg);
  if (invite.by_server) note.local_seq = ack.cseq;
  const int id = Capture(ack, invite.by_server, invite.hop, note);
  EntryOf(leg, invite).refusal_ack = id;
  if (!invite.at_server.to.tag.empty()) GoesOn(leg, invite.by_server, id);
  return id;
}

}  // namespace sipheal::testing::generator
