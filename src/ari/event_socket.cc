// SPDX-License-Identifier: Apache-2.0
#include "ari/event_socket.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The largest events are those with many channel variables; 1 MiB is far above all of them.
constexpr std::size_t kMaxEvent = 1u << 20;
constexpr std::size_t kMaxEarly = 8u << 20;
// An open socket is asked for life this often, and given up when it is silent for that long: TCP
// alone does not notice a peer that vanished.
constexpr milliseconds kKeepAlive{1000};
constexpr milliseconds kGiveUp{5000};
// After another client took our application: both would otherwise take it from each other for ever.
constexpr milliseconds kReplacedDelay{5000};

}  // namespace

EventSocket::EventSocket(SocketLoop& loop, EventSocketHost& host, AriInstanceOptions instance,
                         BaseUrl url, const AriOptions& options)
    : loop_(loop),
      host_(host),
      instance_(std::move(instance)),
      url_(std::move(url)),
      options_(options),
      incarnation_{instance_.name, ""},
      random_(std::random_device{}()),
      timer_(loop, [this] { OnTimer(); }) {}

EventSocket::~EventSocket() {
  if (socket_ != nullptr) loop_.Abandon(socket_);
}

std::string EventSocket::Where() const {
  return absl::StrFormat("the event socket of \"%s\" at %s", instance_.name, url_.ToString());
}

void EventSocket::Ask(void (EventSocket::*next)(absl::StatusOr<EventSocketHost::Life>)) {
  host_.AskLife(instance_.name, [weak = weak_from_this(), generation = generation_,
                                 next](absl::StatusOr<EventSocketHost::Life> life) {
    const auto self = weak.lock();
    if (self && self->generation_ == generation) ((*self).*next)(std::move(life));
  });
}

void EventSocket::Begin() {
  stage_ = Stage::kAsking;
  Ask(&EventSocket::OnAsked);
}

void EventSocket::OnAsked(absl::StatusOr<EventSocketHost::Life> life) {
  if (!life.ok()) return Lost(life.status());
  stage_ = Stage::kConnecting;
  timer_.Arm(options_.connect_timeout);
  SocketLoop::ConnectParams params;
  // The address that just answered: a name would be looked up on this thread otherwise.
  params.address = life->address.empty() ? url_.host : life->address;
  params.port = url_.port;
  params.tls = url_.tls;
  params.host = url_.host;
  // Without subscribeAll: see EventSocketHost::Subscribe.
  params.path = absl::StrFormat("%s/ari/events?app=%s", url_.prefix, EscapeUri(options_.app));
  params.events = this;
  const std::uint64_t generation = generation_;
  lws* const socket = loop_.Connect(params);
  if (generation != generation_) return;  // it failed at once, and OnClosed was called
  socket_ = socket;
  if (socket == nullptr) Lost(absl::UnavailableError(Where() + " could not be opened"));
}

std::string EventSocket::BasicAuth() {
  char value[1024];
  if (instance_.user.empty() ||
      lws_http_basic_auth_gen(instance_.user.c_str(), instance_.password.c_str(), value,
                              sizeof value) != 0) {
    return "";
  }
  return value;
}

void EventSocket::OnOpen() {
  Heard();
  stage_ = Stage::kVerifying;
  timer_.Arm(options_.connect_timeout);
  host_.Subscribe(instance_.name,
                  [weak = weak_from_this(), generation = generation_](const absl::Status& status) {
                    const auto self = weak.lock();
                    if (!self || self->generation_ != generation) return;
                    if (!status.ok()) return self->Lost(status);
                    self->Ask(&EventSocket::OnVerified);
                  });
}

void EventSocket::OnVerified(absl::StatusOr<EventSocketHost::Life> life) {
  if (!life.ok()) return Lost(life.status());
  incarnation_.life = life->startup_time;
  stage_ = Stage::kOpen;
  delay_ = milliseconds(0);
  timer_.Arm(kKeepAlive);
  host_.OnSocketConnected(incarnation_);
  std::vector<std::string> early;
  early.swap(early_);
  early_bytes_ = 0;
  for (std::string& text : early) host_.OnSocketText(incarnation_, std::move(text));
}

void EventSocket::OnData(const char* data, std::size_t size, bool last) {
  Heard();
  if (!skipping_) {
    if (partial_.size() + size > kMaxEvent) {
      skipping_ = true;
      partial_.resize(std::min<std::size_t>(partial_.size(), 200));
    } else {
      partial_.append(data, size);
    }
  }
  if (!last) return;
  skipping_ = false;
  std::string text;
  text.swap(partial_);
  Deliver(std::move(text));
}

void EventSocket::Deliver(std::string text) {
  if (stage_ == Stage::kOpen) return host_.OnSocketText(incarnation_, std::move(text));
  early_bytes_ += text.size();
  if (early_bytes_ > kMaxEarly) {
    return Lost(absl::ResourceExhaustedError(
        Where() + " sent more than 8 MiB before HTTP said which incarnation it is"));
  }
  early_.push_back(std::move(text));
}

void EventSocket::OnPong() { Heard(); }

void EventSocket::Heard() {
  heard_ = options_.clock->Monotonic();
  host_.OnSocketHeard(instance_.name);
}

void EventSocket::Ping() {
  if (socket_ == nullptr || (stage_ != Stage::kOpen && stage_ != Stage::kVerifying)) return;
  ping_wanted_ = true;
  lws_callback_on_writable(socket_);
}

void EventSocket::OnWritable() {
  if (!ping_wanted_) return;
  ping_wanted_ = false;
  unsigned char buffer[LWS_PRE + 1] = {};
  lws_write(socket_, buffer + LWS_PRE, 0, LWS_WRITE_PING);
}

void EventSocket::OnReplaced() {
  replaced_ = true;
  Lost(absl::FailedPreconditionError(absl::StrFormat(
      "%s: another client registered the application \"%s\": give each controller an application "
      "name of its own",
      Where(), options_.app)));
}

void EventSocket::OnTimer() {
  switch (stage_) {
    case Stage::kWaiting:
      return Begin();
    case Stage::kAsking:
      return;  // the request has its own time-out
    case Stage::kConnecting:
    case Stage::kVerifying:
      return Lost(absl::UnavailableError(absl::StrFormat("%s was not open within %d ms", Where(),
                                                         options_.connect_timeout.count())));
    case Stage::kOpen:
      if (options_.clock->Monotonic() - heard_ > kGiveUp) {
        return Lost(absl::UnavailableError(absl::StrFormat(
            "%s was silent for %d s, pings unanswered", Where(), kGiveUp.count() / 1000)));
      }
      Ping();
      timer_.Arm(kKeepAlive);
  }
}

void EventSocket::OnClosed(const std::string& why) {
  socket_ = nullptr;
  Lost(absl::UnavailableError(absl::StrFormat("%s: %s", Where(), why)));
}

void EventSocket::Lost(const absl::Status& why) {
  ++generation_;
  if (socket_ != nullptr) loop_.Abandon(std::exchange(socket_, nullptr));
  const Incarnation was = incarnation_;
  incarnation_.life.clear();
  stage_ = Stage::kWaiting;
  partial_.clear();
  skipping_ = false;
  early_.clear();
  early_bytes_ = 0;
  ping_wanted_ = false;
  timer_.Arm(NextDelay());
  host_.OnSocketLost(was, why);
}

milliseconds EventSocket::NextDelay() {
  if (std::exchange(replaced_, false)) return kReplacedDelay;
  delay_ = std::clamp(delay_ * 2, options_.reconnect_min,
                      std::max(options_.reconnect_min, options_.reconnect_max));
  // Half of it at random, so that many controllers do not come back in step.
  std::uniform_int_distribution<milliseconds::rep> jitter(0, delay_.count() / 2);
  return delay_ / 2 + milliseconds(jitter(random_));
}

}  // namespace sipheal::inline v0_1::internal
