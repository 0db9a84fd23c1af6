// SPDX-License-Identifier: Apache-2.0
// The flow resumer over ARI. The order is given by how Asterisk works: a playback or a recording of
// a channel keeps that channel's commands waiting until it ends, so they come last; a channel that
// is being recorded cannot enter a bridge; the channel may be moved to another application while it
// is in a bridge.
#include <algorithm>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "ari/ari_json.h"
#include "ari/connections.h"
#include "ari/done_once.h"
#include "ari/flow_hints.h"
#include "ari/flow_plan.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "sipheal/adapters/ari.h"

namespace sipheal::inline v0_1 {
namespace internal {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// Applications, bridges made, channels moved, playbacks and recordings begun.
constexpr std::size_t kMaxRemembered = 65536;
// A longer note is set by a request of its own: ARI's bodies end at 40,960 bytes (main/http.c).
constexpr std::size_t kMaxNoteAtBirth = 4096;
// How long an answer is believed that a host's application is connected.
constexpr milliseconds kBelieve{1000};
// What an application that is subscribed to all channels lists instead of them (stasis/app.c).
constexpr char kAllChannels[] = "__AST_CHANNEL_ALL_TOPIC";
constexpr milliseconds kMaxOverlap{250};
constexpr int kMaxBridgeMoves = 3;
constexpr milliseconds kControlRetry{10};

// What an answer means for the recovery: may it be tried again, or is this flow impossible?
absl::Status ToStatus(const AriReply& reply, const std::string& what) {
  if (reply.http_status >= 200 && reply.http_status < 300) return absl::OkStatus();
  std::string said;
  if (const auto body = ParseJson(reply.body)) said = Text(*body, "message");
  const std::string text = absl::StrFormat("%s: Asterisk answered %d%s%s", what, reply.http_status,
                                           said.empty() ? "" : ": ", said);
  switch (reply.http_status) {
    case 400:
    case 404:
    case 422:
      return absl::FailedPreconditionError(text);
    case 401:
      return absl::UnauthenticatedError(text);
    case 403:
      return absl::PermissionDeniedError(text);
    default:  // 409: not in the application yet, or busy; 5xx
      return absl::UnavailableError(text);
  }
}

class AriFlowResumer final : public FlowResumer, public AriEventHandler {
 public:
  AriFlowResumer(std::shared_ptr<AriConnections> connections, AriFlowResumerOptions options)
      : connections_(std::move(connections)), options_(options) {
    log_ = connections_->options().log ? connections_->options().log : NullLogSink();
  }

  absl::Status Accept(const Session& session) override {
    return AcceptFlow(session, options_.continue_in_dialplan);
  }

  Variables Prepare(const Session& session, WallTime died_at) override {
    const std::string note = NoteAtBirth(session, died_at);
    if (note.empty()) return {};
    return {{kFlowVariable, note}};
  }

  absl::Status Resume(const CallContext& ctx, const ResumeParams& params) override {
    if (params.channel_id.empty())
      return absl::InvalidArgumentError("resume: channel_id: is empty");
    ABSL_RETURN_IF_ERROR(Accept(params.session));
    const Call call{ctx, params, connections_->options().app};
    const FlowState& flow = params.session.flow;
    if (flow.stasis_app.empty()) return Continue(call);
    // What keeps the channel busy comes last: all before it was done then, and a command now would
    // wait until it ends.
    bool busy = false;
    if (!params.first) {
      ABSL_ASSIGN_OR_RETURN(busy, KeptBusy(call));
    }
    if (!busy) {
      ABSL_RETURN_IF_ERROR(Arrange(call));
    }
    ABSL_RETURN_IF_ERROR(Record(call));
    return Play(call);
  }

  // --- AriEventHandler: tells when a playback has really begun ---
  void OnConnected(const Incarnation&) override {}
  void OnDisconnected(const Incarnation&, const absl::Status&) override { changed_.notify_all(); }
  void OnEvent(const Incarnation& incarnation, const json& event, WallTime) override {
    if (Text(event, "type") != "PlaybackStarted") return;
    const json* playback = Member(event, "playback");
    if (playback == nullptr) return;
    {
      const std::lock_guard lock(mutex_);
      const auto waited = awaited_.find(incarnation.instance + '\n' + Text(*playback, "id"));
      if (waited == awaited_.end()) return;
      waited->second = true;
    }
    changed_.notify_all();
  }

 private:
  struct Call {
    const CallContext& ctx;
    const ResumeParams& params;
    const std::string& own_app;
  };

  absl::Status Arrange(const Call& call) {
    const std::string& app = call.params.session.flow.stasis_app;
    // Before anything else: when the host's application is not there, nothing is half done.
    const bool moves = app != call.own_app;
    bool there = false;
    if (moves) {
      if (call.params.first) {
        ABSL_RETURN_IF_ERROR(ApplicationConnected(call));
      } else {
        ABSL_ASSIGN_OR_RETURN(there, InApplication(call));
      }
    }
    ABSL_RETURN_IF_ERROR(Note(call));
    ABSL_RETURN_IF_ERROR(JoinBridge(call));
    ABSL_RETURN_IF_ERROR(Hold(call));
    return moves && !there ? Move(call) : absl::OkStatus();
  }

  // Whether the channel itself plays or is recorded already as this flow wants it.
  absl::StatusOr<bool> KeptBusy(const Call& call) {
    const FlowState& flow = call.params.session.flow;
    if (flow.playback && flow.playback->item < flow.playback->media.size() &&
        !(flow.playback->on_bridge && flow.bridge)) {
      ABSL_ASSIGN_OR_RETURN(const json running,
                            Get(call, PlaybackPath(*flow.playback), "looking for the playback"));
      if (!running.is_null()) return true;
    }
    for (const Recording& recording : flow.recordings) {
      if (recording.on_bridge && flow.bridge) continue;
      ABSL_ASSIGN_OR_RETURN(const json running, Get(call, LivePath(NextPartName(recording)),
                                                    "looking for the recording"));
      if (!running.is_null()) return true;
    }
    return false;
  }

  static std::string PlaybackPath(const Playback& playback) {
    return "/ari/playbacks/" + EscapeUri(playback.id);
  }
  static std::string LivePath(const std::string& recording) {
    return "/ari/recordings/live/" + EscapeUri(recording);
  }

  // One request to the session's new instance.
  absl::StatusOr<AriReply> Ask(const Call& call, const std::string& method, const std::string& path,
                               const json& body = nullptr) {
    if (call.ctx.stop.stop_requested()) return absl::CancelledError("resume was cancelled");
    if (call.ctx.Remaining(SystemClock().Monotonic()).count() <= 0) {
      return absl::DeadlineExceededError("resume took too long");
    }
    return connections_->Request(call.ctx, call.params.instance, method, path,
                                 body.is_null() ? "" : ToText(body));
  }
  absl::Status Do(const Call& call, const std::string& method, const std::string& path,
                  const json& body, const std::string& what) {
    ABSL_ASSIGN_OR_RETURN(const AriReply reply, Ask(call, method, path, body));
    return ToStatus(reply, what);
  }
  // A GET; null when there is no such thing.
  absl::StatusOr<json> Get(const Call& call, const std::string& path, const std::string& what) {
    ABSL_ASSIGN_OR_RETURN(const AriReply reply, Ask(call, "GET", path));
    if (reply.http_status == 404) return json();
    ABSL_RETURN_IF_ERROR(ToStatus(reply, what));
    std::optional<json> value = ParseJson(reply.body);
    if (!value) {
      return absl::UnavailableError(absl::StrFormat("%s: the answer is no JSON", what));
    }
    return *std::move(value);
  }

  static std::string ChannelPath(const Call& call, const std::string& rest) {
    return "/ari/channels/" + EscapeUri(call.params.channel_id) + rest;
  }

  // The answer lists every channel of the application: many calls at once wait for one of them that
  // asks.
  absl::Status ApplicationConnected(const Call& call) {
    const DoneOnce::Turn turn(
        done_, call.ctx,
        call.params.instance + "\napplication\n" + call.params.session.flow.stasis_app, kBelieve);
    ABSL_RETURN_IF_ERROR(turn.status());
    if (turn.done()) return absl::OkStatus();
    ABSL_RETURN_IF_ERROR(InApplication(call).status());
    turn.Done();
    return absl::OkStatus();
  }

  absl::StatusOr<bool> InApplication(const Call& call) {
    const std::string& app = call.params.session.flow.stasis_app;
    ABSL_ASSIGN_OR_RETURN(const json application, Get(call, "/ari/applications/" + EscapeUri(app),
                                                      "looking for the application"));
    if (application.is_null()) {
      return absl::UnavailableError(absl::StrFormat(
          "application \"%s\" is not connected to \"%s\": its event socket must be open there", app,
          call.params.instance));
    }
    const std::vector<std::string> channels = TextList(application, "channel_ids");
    const auto named = [&channels](const std::string& id) {
      return std::find(channels.begin(), channels.end(), id) != channels.end();
    };
    if (!named(kAllChannels)) return named(call.params.channel_id);
    return done_.Has(MoveKey(call));
  }
  static std::string MoveKey(const Call& call) {
    return call.params.instance + "\nmove\n" + call.params.channel_id + '\n' +
           call.params.session.flow.stasis_app;
  }

  std::string NoteAtBirth(const Session& session, WallTime died_at) const {
    std::string note =
        NoteOf(session, died_at, connections_->options().app, options_.playback_overlap);
    if (note.size() > kMaxNoteAtBirth) note.clear();
    return note;
  }

  // For the tracker, and so for the next recovery: what no event will tell.
  absl::Status Note(const Call& call) {
    const std::string hints =
        NoteOf(call.params.session, call.params.died_at, call.own_app, options_.playback_overlap);
    // A channel that has just answered is there, and was born with its note.
    if (call.params.first && hints.size() <= kMaxNoteAtBirth) return absl::OkStatus();
    if (hints.empty()) {
      // A channel that has gone meanwhile: nothing is to be made for it.
      ABSL_ASSIGN_OR_RETURN(const json channel,
                            Get(call, ChannelPath(call, ""), "looking for the channel"));
      return channel.is_null()
                 ? absl::FailedPreconditionError("the channel is gone: the phone hung up")
                 : absl::OkStatus();
    }
    return Do(call, "POST", ChannelPath(call, "/variable"),
              {{"variable", kFlowVariable}, {"value", hints}}, "noting the flow on the channel");
  }

  // --- bridge ---

  absl::Status JoinBridge(const Call& call) {
    const Session& session = call.params.session;
    if (!session.flow.bridge) return FollowPartner(call);
    std::string bridge_id = session.flow.bridge->id;
    const bool hosts_group = !session.group.empty() && session.group != bridge_id;
    if (!hosts_group || call.params.partners.empty()) {
      return EnterBridge(call, bridge_id, call.params.first);
    }
    // The host said who belongs together: a partner that lives here already may be in a bridge of
    // another name.
    for (int move = 0; move < kMaxBridgeMoves; ++move) {
      ABSL_ASSIGN_OR_RETURN(const std::string partners,
                            BridgeOf(call, call.params.partners, move == 0 ? "" : bridge_id));
      if (move > 0 && partners == bridge_id) break;
      if (!partners.empty()) bridge_id = partners;
      ABSL_RETURN_IF_ERROR(EnterBridge(call, bridge_id, call.params.first && move == 0));
    }
    return absl::OkStatus();
  }

  // A session that was in no bridge did not talk to those that died with it. One that lived here
  // meanwhile was reached over another way, and draws it to where it is.
  absl::Status FollowPartner(const Call& call) {
    std::vector<Partner> lived_here;
    for (const Partner& partner : call.params.partners) {
      if (partner.lived_there) lived_here.push_back(partner);
    }
    if (lived_here.empty()) return absl::OkStatus();
    ABSL_ASSIGN_OR_RETURN(const std::string bridge_id, BridgeOf(call, lived_here, ""));
    return bridge_id.empty() ? absl::OkStatus() : EnterBridge(call, bridge_id, /*first=*/false);
  }

  // The bridge that these partners are in; `own` when they are in none. Once this channel is in a
  // bridge itself (`own`), the smaller id wins, so that two that look for each other at the same
  // time meet.
  absl::StatusOr<std::string> BridgeOf(const Call& call, const std::vector<Partner>& partners,
                                       const std::string& own) {
    ABSL_ASSIGN_OR_RETURN(const json bridges, Get(call, "/ari/bridges", "listing the bridges"));
    std::string best = own;
    if (!bridges.is_array()) return best;
    for (const json& bridge : bridges) {
      if (Text(bridge, "bridge_class") != "stasis") continue;
      const std::string id = Text(bridge, "id");
      const std::vector<std::string> members = TextList(bridge, "channels");
      const bool has_partner =
          std::any_of(partners.begin(), partners.end(), [&](const Partner& partner) {
            return std::find(members.begin(), members.end(), partner.channel_id) != members.end();
          });
      if (has_partner && (best.empty() || id < best)) best = id;
    }
    return best;
  }

  absl::Status EnterBridge(const Call& call, const std::string& bridge_id, bool first) {
    const std::string path = "/ari/bridges/" + EscapeUri(bridge_id);
    json bridge;
    if (!first) {
      ABSL_ASSIGN_OR_RETURN(bridge, Get(call, path, "looking for the bridge"));
    }
    // Adding it a second time would take it out first: a gap, and events for the host.
    const std::vector<std::string> members = TextList(bridge, "channels");
    if (std::find(members.begin(), members.end(), call.params.channel_id) != members.end()) {
      return absl::OkStatus();
    }
    const std::string key = call.params.instance + "\nbridge\n" + bridge_id;
    if (bridge.is_null() && !(first && done_.Has(key))) {
      ABSL_RETURN_IF_ERROR(MakeBridge(call, bridge_id, path, key));
    }
    const std::string what = absl::StrFormat("adding the channel to bridge \"%s\"", bridge_id);
    const json channel = {{"channel", call.params.channel_id}};
    ABSL_ASSIGN_OR_RETURN(AriReply added, Ask(call, "POST", path + "/addChannel", channel));
    if (added.http_status == 404 && first) {  // made here, and gone since
      ABSL_RETURN_IF_ERROR(MakeBridge(call, bridge_id, path, key));
      ABSL_ASSIGN_OR_RETURN(added, Ask(call, "POST", path + "/addChannel", channel));
    }
    // A bridge that a partner's resume makes in the same moment may not be seen yet: worth another
    // try.
    if (added.http_status == 404) {
      return absl::UnavailableError(absl::StrFormat("%s: the bridge is not there yet", what));
    }
    return ToStatus(added, what);
  }

  absl::Status MakeBridge(const Call& call, const std::string& bridge_id, const std::string& path,
                          const std::string& key) {
    const std::optional<BridgeMembership>& before = call.params.session.flow.bridge;
    json body = {{"type", before && !before->type.empty() ? before->type : "mixing"}};
    if (before && !before->name.empty() && before->id == bridge_id) body["name"] = before->name;
    ABSL_ASSIGN_OR_RETURN(const AriReply made, Ask(call, "POST", path, body));
    // 409: a partner's resume made it in the same moment.
    if (made.http_status != 409) {
      ABSL_RETURN_IF_ERROR(ToStatus(made, "making the bridge"));
    }
    done_.Add(key);
    return absl::OkStatus();
  }

  // --- hold, music, mute ---

  absl::Status Hold(const Call& call) {
    const FlowState& flow = call.params.session.flow;
    if (flow.held_by_us) {
      // Not twice: each hold is a re-INVITE where music is passed through to the phone.
      json held;
      if (!call.params.first) {
        ABSL_ASSIGN_OR_RETURN(held,
                              Get(call, ChannelPath(call, "/variable?variable=CHANNEL%28onhold%29"),
                                  "asking whether the phone is on hold"));
      }
      if (Text(held, "value") != "1") {
        ABSL_RETURN_IF_ERROR(
            Do(call, "POST", ChannelPath(call, "/hold"), nullptr, "holding the phone"));
      }
    }
    if (flow.music_on_hold) {
      ABSL_RETURN_IF_ERROR(
          Do(call, "POST", ChannelPath(call, "/moh"), nullptr, "starting music on hold"));
    }
    if (flow.muted_in || flow.muted_out) {
      const char* direction = flow.muted_in && flow.muted_out ? "both"
                              : flow.muted_in                 ? "in"
                                                              : "out";
      ABSL_RETURN_IF_ERROR(
          Do(call, "POST", ChannelPath(call, "/mute"), {{"direction", direction}}, "muting"));
    }
    return absl::OkStatus();
  }

  absl::Status Move(const Call& call) {
    const FlowState& flow = call.params.session.flow;
    json body = {{"app", flow.stasis_app}};
    if (!flow.stasis_args.empty()) body["appArgs"] = JoinArguments(flow.stasis_args);
    ABSL_RETURN_IF_ERROR(
        Do(call, "POST", ChannelPath(call, "/move"), body,
           absl::StrFormat("moving the channel to application \"%s\"", flow.stasis_app)));
    done_.Add(MoveKey(call));
    return absl::OkStatus();
  }

  absl::Status Continue(const Call& call) {
    const DialplanLocation& at = call.params.session.flow.dialplan;
    ABSL_ASSIGN_OR_RETURN(const json channel,
                          Get(call, ChannelPath(call, ""), "looking for the channel"));
    if (channel.is_null())
      return absl::FailedPreconditionError("the channel is gone: the phone hung up");
    const json* now = Member(channel, "dialplan");
    if (now != nullptr && Text(*now, "context") == at.context &&
        Text(*now, "exten") == at.extension && Text(*now, "app_name") != "Stasis") {
      return absl::OkStatus();  // done before
    }
    return Do(call, "POST", ChannelPath(call, "/continue"),
              {{"context", at.context}, {"extension", at.extension}, {"priority", at.priority}},
              absl::StrFormat("continuing at %s,%s,%d", at.context, at.extension, at.priority));
  }

  // --- recording ---

  absl::Status Record(const Call& call) {
    for (const Recording& recording : call.params.session.flow.recordings) {
      const std::string name = NextPartName(recording);
      const DoneOnce::Turn once(done_, call.ctx, OnceKey(call, "recording", name));
      ABSL_RETURN_IF_ERROR(once.status());
      if (once.done()) continue;
      const std::string live = LivePath(name);
      ABSL_ASSIGN_OR_RETURN(const json running, Get(call, live, "looking for the recording"));
      if (running.is_null()) {
        const std::string path =
            recording.on_bridge && call.params.session.flow.bridge
                ? "/ari/bridges/" + EscapeUri(call.params.session.flow.bridge->id) + "/record"
                : ChannelPath(call, "/record");
        const absl::Status status =
            Do(call, "POST", path,
               {{"name", name},
                {"format", recording.format.empty() ? "wav" : recording.format},
                {"ifExists", "fail"}},
               absl::StrFormat("continuing the recording as \"%s\"", name));
        // A recording that cannot go on is no reason to end the call.
        if (absl::IsFailedPrecondition(status) || absl::IsUnavailable(status)) {
          ABSL_ASSIGN_OR_RETURN(const json again, Get(call, live, "looking for the recording"));
          if (again.is_null()) Warn("recording_not_continued", call, status);
        } else {
          ABSL_RETURN_IF_ERROR(status);
        }
      }
      once.Done();
    }
    return absl::OkStatus();
  }

  // --- playback ---

  absl::Status Play(const Call& call) {
    const std::optional<Playback>& playback = call.params.session.flow.playback;
    if (!playback || playback->item >= playback->media.size()) return absl::OkStatus();
    const DoneOnce::Turn once(done_, call.ctx, OnceKey(call, "playback", playback->id));
    ABSL_RETURN_IF_ERROR(once.status());
    if (once.done()) return absl::OkStatus();
    const std::string path = PlaybackPath(*playback);
    // One of a bridge may have been begun by a member that another controller resumed.
    if (!call.params.first || playback->on_bridge) {
      ABSL_ASSIGN_OR_RETURN(const json running, Get(call, path, "looking for the playback"));
      if (!running.is_null()) {
        if (playback->paused && Text(running, "state") == "playing") {
          ABSL_RETURN_IF_ERROR(PauseNow(call, path));
        }
        once.Done();
        return absl::OkStatus();
      }
    }
    json body = {{"media", std::vector<std::string>(playback->media.begin() +
                                                        static_cast<std::ptrdiff_t>(playback->item),
                                                    playback->media.end())}};
    // The offset is of the first sound alone; Asterisk plays the others from their beginning.
    const milliseconds offset =
        ResumeOffset(*playback, call.params.died_at, options_.playback_overlap);
    if (offset.count() > 0) body["offsetms"] = offset.count();
    if (!playback->language.empty()) body["lang"] = playback->language;
    const bool on_bridge = playback->on_bridge && call.params.session.flow.bridge;
    const std::string target =
        on_bridge ? "/ari/bridges/" + EscapeUri(call.params.session.flow.bridge->id)
                  : ChannelPath(call, "");
    const std::string key = call.params.instance + '\n' + playback->id;
    if (playback->paused) Await(key);
    absl::Status status = Do(call, "POST", target + "/play/" + EscapeUri(playback->id), body,
                             "going on with the playback");
    if (status.ok() && playback->paused) status = Pause(call, path, key);
    if (playback->paused) Forget(key);
    if (status.ok()) once.Done();
    return status;
  }

  absl::Status Pause(const Call& call, const std::string& path, const std::string& key) {
    {
      std::unique_lock lock(mutex_);
      const auto began = [&] { return awaited_[key]; };
      if (!WaitFor(changed_, lock, call.ctx, began))
        return Ended(call.ctx, "the playback did not begin");
    }
    return PauseNow(call, path);
  }

  absl::Status PauseNow(const Call& call, const std::string& path) {
    for (;;) {
      ABSL_ASSIGN_OR_RETURN(const AriReply reply,
                            Ask(call, "POST", path + "/control", {{"operation", "pause"}}));
      if (reply.http_status == 404) return absl::OkStatus();  // it was at its end
      const absl::Status status = ToStatus(reply, "pausing the playback");
      // Right after its first event a playback cannot be controlled yet.
      if (reply.http_status != 409 && reply.http_status != 500) return status;
      std::unique_lock lock(mutex_);
      CallContext brief = call.ctx;
      brief.deadline = std::min(call.ctx.deadline, SystemClock().Monotonic() + kControlRetry);
      WaitFor(changed_, lock, brief, [] { return false; });
      if (call.ctx.stop.stop_requested() ||
          call.ctx.Remaining(SystemClock().Monotonic()).count() <= 0) {
        return status;
      }
    }
  }

  void Await(const std::string& key) {
    const std::lock_guard lock(mutex_);
    awaited_[key] = false;
  }
  void Forget(const std::string& key) {
    const std::lock_guard lock(mutex_);
    awaited_.erase(key);
  }

  // Of what is to happen once for a whole bridge, whoever of its members comes first; done also
  // when it has ended since.
  static std::string OnceKey(const Call& call, const char* what, const std::string& name) {
    return absl::StrFormat("%s\n%s\n%s\n%d", call.params.instance, what, name,
                           call.params.died_at.time_since_epoch().count());
  }

  void Warn(const char* event, const Call& call, const absl::Status& why) {
    log_->Write({LogLevel::kWarning,
                 event,
                 std::string(StdView(why.message())),
                 {{"session", call.params.session.id}, {"instance", call.params.instance}}});
  }

  const std::shared_ptr<AriConnections> connections_;
  const AriFlowResumerOptions options_;
  std::shared_ptr<LogSink> log_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, bool> awaited_;  // playbacks to begin, by instance and id
  DoneOnce done_{kMaxRemembered};
};

}  // namespace
}  // namespace internal

absl::StatusOr<std::shared_ptr<FlowResumer>> MakeAriFlowResumer(
    std::shared_ptr<AriConnections> connections, AriFlowResumerOptions options) {
  if (connections == nullptr)
    return absl::InvalidArgumentError("flow resumer: connections: is null");
  if (options.playback_overlap < internal::milliseconds(0) ||
      options.playback_overlap > internal::kMaxOverlap) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "flow resumer: playback_overlap: %d ms: use 0 to 250", options.playback_overlap.count()));
  }
  auto resumer = std::make_shared<internal::AriFlowResumer>(connections, options);
  connections->AddHandler(resumer);
  return resumer;
}

}  // namespace sipheal::inline v0_1
