// SPDX-License-Identifier: Apache-2.0
// Subscriptions that share the dialog with the call: that of a REFER (RFC 3515), and those that one
// side asks for by SUBSCRIBE (RFC 6665).
#include <algorithm>

#include "tests/sip/generator/simulation.h"

namespace sipheal::testing::generator {

// REFER, SUBSCRIBE and NOTIFY refresh the target, too (rule 4.1).
void Simulation::TargetRefreshed(Leg& leg, const Transaction& request, int answer,
                                 bool has_contact) {
  const std::string& contact = leg.peer.contact;
  if (!request.by_server) {
    Record(leg, Fact::kTarget, contact, {answer}, {{request.id, answer}});
  } else if (has_contact) {
    Record(leg, Fact::kTarget, contact, {answer}, {{answer}});
  }
}

// The notifier says how the subscription stands.
void Simulation::Notify(Leg& leg, std::size_t which, const std::string& event,
                        const std::string& state, Note note) {
  const bool by_server = !leg.subscriptions[which].by_server;
  Message notify = DialogOf(leg, by_server).Request("NOTIFY");
  notify.contact = Agent(leg, by_server).contact;
  notify.extra = {"Event: " + event, "Subscription-State: " + state};
  const Transaction sent = Send(leg, by_server, notify, note);
  const auto take_effect = [&] {
    Subscription& one = leg.subscriptions[which];
    one.active = state.starts_with("active");
    one.over = state.starts_with("terminated");
    const std::size_t expires = state.find("expires=");
    if (expires != std::string::npos) {
      one.expires_us = call_.times[static_cast<std::size_t>(sent.id)] +
                       std::stol(state.substr(expires + 8)) * 1'000'000;
    }
  };
  // What the server itself says of it, holds when it is said.
  if (by_server) take_effect();
  const int answer = Answer(leg, sent, 200);
  take_effect();
  TargetRefreshed(leg, sent, answer, false);
}

void Simulation::Refer(Leg& leg, bool by_server) {
  // Without its number, a NOTIFY means the first REFER (RFC 3515 2.4.6).
  const bool first = std::none_of(
      leg.subscriptions.begin(), leg.subscriptions.end(),
      [&](const Subscription& one) { return one.event == "refer" && one.by_server == by_server; });
  Message refer = DialogOf(leg, by_server).Request("REFER");
  refer.contact = Agent(leg, by_server).contact;
  refer.extra = {"Refer-To: <sip:third@example.net>"};
  const std::uint32_t id = refer.cseq;
  const Transaction sent = Send(leg, by_server, refer);
  AnswerOptions options;
  options.contact = true;
  if (dice_.Chance(10)) {
    Answer(leg, sent, 603);
    return;
  }
  TargetRefreshed(leg, sent, Answer(leg, sent, 202, options), true);
  leg.subscriptions.push_back({"refer", std::to_string(id), by_server});
  for (const char* state : {"active;expires=60", "terminated;reason=noresource"}) {
    const bool named = dice_.Chance(60) || !first;
    Note note;
    if (by_server && named) note.local_seq = id;
    Notify(leg, leg.subscriptions.size() - 1, named ? "refer;id=" + std::to_string(id) : "refer",
           state, note);
    if (dice_.Chance(30)) return;
  }
}

// One SUBSCRIBE and its answer. True: it was accepted.
bool Simulation::AskFor(Leg& leg, std::size_t which, const std::string& expires) {
  const Subscription asked = leg.subscriptions[which];
  Message subscribe = DialogOf(leg, asked.by_server).Request("SUBSCRIBE");
  subscribe.contact = Agent(leg, asked.by_server).contact;
  subscribe.extra = {"Event: " + asked.event + (asked.id.empty() ? "" : ";id=" + asked.id),
                     "Expires: " + expires};
  const Transaction sent = Send(leg, asked.by_server, subscribe);
  if (wide_.Chance(15)) {
    // The first two end one that is there; the others leave it as it was (RFC 6665 4.1.2.2).
    static constexpr int kRefusals[] = {489, 481, 403, 500};
    const int status = wide_.Pick(kRefusals);
    Answer(leg, sent, status);
    Subscription& one = leg.subscriptions[which];
    one.over |= status == 489 || status == 481;
    return false;
  }
  AnswerOptions options;
  options.contact = true;
  options.extra = {"Expires: " + expires};
  const int answer = Answer(leg, sent, 200, options);
  leg.subscriptions[which].expires_us =
      call_.times[static_cast<std::size_t>(answer)] + std::stol(expires) * 1'000'000;
  // The notification that follows says it again.
  leg.subscriptions[which].over = expires == "0";
  TargetRefreshed(leg, sent, answer, true);
  return true;
}

void Simulation::Subscribe(Leg& leg, bool by_server) {
  static constexpr const char* kEvents[] = {"presence", "dialog", "message-summary"};
  static constexpr const char* kExpires[] = {"60", "600", "3600"};
  std::size_t which = leg.subscriptions.size();
  for (std::size_t i = 0; i < leg.subscriptions.size(); ++i) {
    const Subscription& one = leg.subscriptions[i];
    if (one.event != "refer" && !one.over && one.active) which = i;
  }
  const bool ends = which < leg.subscriptions.size() && wide_.Chance(40);
  if (which == leg.subscriptions.size()) {
    const std::string id = wide_.Chance(30) ? wide_.Hex(4) : std::to_string(which);
    leg.subscriptions.push_back({wide_.Pick(kEvents), id, by_server});
    leg.subscriptions.back().over = true;  // until it is accepted
    if (!AskFor(leg, which, wide_.Pick(kExpires))) return;
    if (wide_.Chance(20)) return;
  } else if (!AskFor(leg, which, ends ? "0" : wide_.Pick(kExpires))) {
    return;
  }
  const Subscription& one = leg.subscriptions[which];
  const std::string event = one.event + ";id=" + one.id;
  if (ends) {
    Notify(leg, which, event, "terminated;reason=timeout", {});
  } else if (wide_.Chance(20)) {
    Notify(leg, which, event, "pending", {});
  } else {
    Notify(leg, which, event, std::string("active;expires=") + wide_.Pick(kExpires), {});
  }
}

// A subscription in a dialog of its own between the same two (rule 7.5), while they speak: it is no
// call, even under the Call-ID of this one.
void Simulation::SubscribeAlone() {
  const bool by_server = odd_.Chance(50);
  const UserAgent& subscriber = by_server ? server_ : peer_;
  const UserAgent& notifier = by_server ? peer_ : server_;
  const std::string hop = peer_.address();
  std::int64_t when = 1'700'000'000'000'000 + odd_.Range(0, 2'000'000);
  Message request;
  request.call_id = odd_.Chance(70) ? odd_.Hex(12) : call_.call_id;
  request.from = subscriber.identity;
  request.to = notifier.identity;
  request.from.tag = odd_.Hex(8);
  request.to.tag = odd_.Hex(8);
  call_.subscription_tags = {request.from.tag, request.to.tag};
  const Message base = request;
  const auto ask = [&](bool sent, const char* method, std::uint32_t cseq, bool first,
                       std::vector<std::string> extra) {
    request = base;
    if (sent != by_server) std::swap(request.from, request.to);
    const UserAgent& sender = sent ? server_ : peer_;
    const UserAgent& receiver = sent ? peer_ : server_;
    Message answer;
    request.method = method;
    request.cseq = cseq;
    request.uri = first ? receiver.identity.uri : RequestUriOf(receiver.contact);
    request.via = {ViaOf(sender, Branch())};
    request.contact = sender.contact;
    request.extra = {std::move(extra)};
    const int status = odd_.Chance(90) ? 200 : 403;
    answer = ResponseTo(request, status, "");
    if (first) request.to.tag.clear();
    if (status == 200) answer.contact = receiver.contact;
    answer.extra = {"Expires: 600"};
    AddCopy(request, sent, hop, when += odd_.Range(500, 90'000), sender.style);
    AddCopy(answer, !sent, hop, when += odd_.Range(500, 90'000), receiver.style);
  };
  Tell("a subscription in a dialog of its own" +
       std::string(request.call_id == call_.call_id ? ", under the same Call-ID" : ""));
  std::uint32_t asked = odd_.Range(1, 300);
  std::uint32_t notified = odd_.Range(1, 300);
  ask(by_server, "SUBSCRIBE", asked, true, {"Event: presence", "Expires: 600"});
  for (std::uint32_t rounds = odd_.Below(4); rounds > 0; --rounds) {
    if (odd_.Chance(30)) {
      ask(by_server, "SUBSCRIBE", ++asked, false, {"Event: presence", "Expires: 600"});
    }
    ask(!by_server, "NOTIFY", ++notified, false,
        {"Event: presence", odd_.Chance(80) ? "Subscription-State: active;expires=500"
                                            : "Subscription-State: terminated;reason=timeout"});
  }
}

}  // namespace sipheal::testing::generator
