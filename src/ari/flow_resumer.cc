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
#include "ari/flow_bridges.h"
#include "ari/flow_call.h"
#include "ari/flow_hints.h"
#include "ari/flow_plan.h"
#include "ari/server_flow.h"
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
constexpr milliseconds kControlRetry{10};
// After the death: how long it is asked whether the server has put a flow back.
constexpr std::chrono::seconds kServerFlowPatience{10};

std::string PlaybackPath(const Playback& playback) {
  return "/ari/playbacks/" + EscapeUri(playback.id);
}
std::string LivePath(const std::string& recording) {
  return "/ari/recordings/live/" + EscapeUri(recording);
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
    Variables variables;
    std::string note = NoteAtBirth(session, died_at);
    std::string flow =
        ServerFlowOf(session, died_at, connections_->options().app, options_.playback_overlap);
    if (!note.empty()) variables.emplace_back(kFlowVariable, std::move(note));
    if (!flow.empty()) variables.emplace_back(kServerFlowVariable, std::move(flow));
    return variables;
  }

  absl::Status Resume(const CallContext& ctx, const ResumeParams& params) override {
    if (params.channel_id.empty())
      return absl::InvalidArgumentError("resume: channel_id: is empty");
    ABSL_RETURN_IF_ERROR(Accept(params.session));
    // The server is told all of a flow or nothing (ServerFlowOf).
    if (params.done_by_server) return absl::OkStatus();
    const FlowCall call(*connections_, ctx, params);
    const FlowState& flow = params.session.flow;
    if (flow.stasis_app.empty()) return Continue(call);
    if (!params.first) {
      ABSL_ASSIGN_OR_RETURN(const bool done, DoneByServer(call));
      if (done) return absl::OkStatus();
    }
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
  absl::Status Arrange(const FlowCall& call) {
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
    ABSL_RETURN_IF_ERROR(bridges_.Join(call));
    ABSL_RETURN_IF_ERROR(Hold(call));
    return moves && !there ? Move(call) : absl::OkStatus();
  }

  // Whether the server has put the flow back by itself; Unavailable while it is at it.
  absl::StatusOr<bool> DoneByServer(const FlowCall& call) {
    ABSL_ASSIGN_OR_RETURN(const json result,
                          call.Get(call.ChannelPath("/variable?variable=") + kServerFlowResult,
                                   "asking what the server did of the flow"));
    const std::string said = Text(result, "value");
    if (said == kServerFlowUnderway) {
      // A host that plays something first keeps the channel from its bridge for as long as that
      // takes. The server has it in hand then, and the call is not to be ended for it.
      const auto since = connections_->options().clock->Now() - call.params.died_at;
      if (since > kServerFlowPatience) return true;
      return absl::UnavailableError(
          absl::StrFormat("\"%s\" is about to put the flow back by itself", call.params.instance));
    }
    return ParseServerFlowResult(said) == FlowProgress::kDone;
  }

  // Whether the channel itself plays or is recorded already as this flow wants it.
  absl::StatusOr<bool> KeptBusy(const FlowCall& call) {
    const FlowState& flow = call.params.session.flow;
    if (flow.playback && flow.playback->item < flow.playback->media.size() &&
        !(flow.playback->on_bridge && flow.bridge)) {
      ABSL_ASSIGN_OR_RETURN(const json running,
                            call.Get(PlaybackPath(*flow.playback), "looking for the playback"));
      if (!running.is_null()) return true;
    }
    for (const Recording& recording : flow.recordings) {
      if (recording.on_bridge && flow.bridge) continue;
      ABSL_ASSIGN_OR_RETURN(const json running, call.Get(LivePath(NextPartName(recording)),
                                                         "looking for the recording"));
      if (!running.is_null()) return true;
    }
    return false;
  }

  // The answer lists every channel of the application: many calls at once wait for one of them that
  // asks.
  absl::Status ApplicationConnected(const FlowCall& call) {
    const DoneOnce::Turn turn(
        done_, call.ctx,
        call.params.instance + "\napplication\n" + call.params.session.flow.stasis_app,
        SystemClock().Monotonic() - kBelieve);
    ABSL_RETURN_IF_ERROR(turn.status());
    if (turn.done()) return absl::OkStatus();
    ABSL_RETURN_IF_ERROR(InApplication(call).status());
    turn.Done();
    return absl::OkStatus();
  }

  absl::StatusOr<bool> InApplication(const FlowCall& call) {
    const std::string& app = call.params.session.flow.stasis_app;
    ABSL_ASSIGN_OR_RETURN(const json application, call.Get("/ari/applications/" + EscapeUri(app),
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
  static std::string MoveKey(const FlowCall& call) {
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
  absl::Status Note(const FlowCall& call) {
    const std::string hints =
        NoteOf(call.params.session, call.params.died_at, call.own_app, options_.playback_overlap);
    // A channel that has just answered is there, and was born with its note.
    if (call.params.first && hints.size() <= kMaxNoteAtBirth) return absl::OkStatus();
    if (hints.empty()) {
      // A channel that has gone meanwhile: nothing is to be made for it.
      ABSL_ASSIGN_OR_RETURN(const json channel,
                            call.Get(call.ChannelPath(""), "looking for the channel"));
      return channel.is_null()
                 ? absl::FailedPreconditionError("the channel is gone: the phone hung up")
                 : absl::OkStatus();
    }
    return call.Do("POST", call.ChannelPath("/variable"),
                   {{"variable", kFlowVariable}, {"value", hints}},
                   "noting the flow on the channel");
  }

  // --- hold, music, mute ---

  absl::Status Hold(const FlowCall& call) {
    const FlowState& flow = call.params.session.flow;
    if (flow.held_by_us) {
      // Not twice: each hold is a re-INVITE where music is passed through to the phone.
      json held;
      if (!call.params.first) {
        ABSL_ASSIGN_OR_RETURN(held,
                              call.Get(call.ChannelPath("/variable?variable=CHANNEL%28onhold%29"),
                                       "asking whether the phone is on hold"));
      }
      if (Text(held, "value") != "1") {
        ABSL_RETURN_IF_ERROR(
            call.Do("POST", call.ChannelPath("/hold"), nullptr, "holding the phone"));
      }
    }
    if (flow.music_on_hold) {
      ABSL_RETURN_IF_ERROR(
          call.Do("POST", call.ChannelPath("/moh"), nullptr, "starting music on hold"));
    }
    if (flow.muted_in || flow.muted_out) {
      const char* direction = flow.muted_in && flow.muted_out ? "both"
                              : flow.muted_in                 ? "in"
                                                              : "out";
      ABSL_RETURN_IF_ERROR(
          call.Do("POST", call.ChannelPath("/mute"), {{"direction", direction}}, "muting"));
    }
    return absl::OkStatus();
  }

  absl::Status Move(const FlowCall& call) {
    const FlowState& flow = call.params.session.flow;
    json body = {{"app", flow.stasis_app}};
    if (!flow.stasis_args.empty()) body["appArgs"] = JoinArguments(flow.stasis_args);
    ABSL_RETURN_IF_ERROR(
        call.Do("POST", call.ChannelPath("/move"), body,
                absl::StrFormat("moving the channel to application \"%s\"", flow.stasis_app)));
    done_.Add(MoveKey(call));
    return absl::OkStatus();
  }

  absl::Status Continue(const FlowCall& call) {
    const DialplanLocation& at = call.params.session.flow.dialplan;
    ABSL_ASSIGN_OR_RETURN(const json channel,
                          call.Get(call.ChannelPath(""), "looking for the channel"));
    if (channel.is_null())
      return absl::FailedPreconditionError("the channel is gone: the phone hung up");
    const json* now = Member(channel, "dialplan");
    if (now != nullptr && Text(*now, "context") == at.context &&
        Text(*now, "exten") == at.extension && Text(*now, "app_name") != "Stasis") {
      return absl::OkStatus();  // done before
    }
    return call.Do(
        "POST", call.ChannelPath("/continue"),
        {{"context", at.context}, {"extension", at.extension}, {"priority", at.priority}},
        absl::StrFormat("continuing at %s,%s,%d", at.context, at.extension, at.priority));
  }

  // --- recording ---

  absl::Status Record(const FlowCall& call) {
    for (const Recording& recording : call.params.session.flow.recordings) {
      const std::string name = NextPartName(recording);
      const DoneOnce::Turn once(done_, call.ctx, OnceKey(call, "recording", name));
      ABSL_RETURN_IF_ERROR(once.status());
      if (once.done()) continue;
      const std::string live = LivePath(name);
      ABSL_ASSIGN_OR_RETURN(const json running, call.Get(live, "looking for the recording"));
      if (running.is_null()) {
        const std::string path =
            recording.on_bridge && call.params.session.flow.bridge
                ? "/ari/bridges/" + EscapeUri(call.params.session.flow.bridge->id) + "/record"
                : call.ChannelPath("/record");
        const absl::Status status =
            call.Do("POST", path,
                    {{"name", name},
                     {"format", recording.format.empty() ? "wav" : recording.format},
                     {"ifExists", "fail"}},
                    absl::StrFormat("continuing the recording as \"%s\"", name));
        // A recording that cannot go on is no reason to end the call.
        if (absl::IsFailedPrecondition(status) || absl::IsUnavailable(status)) {
          ABSL_ASSIGN_OR_RETURN(const json again, call.Get(live, "looking for the recording"));
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

  absl::Status Play(const FlowCall& call) {
    const std::optional<Playback>& playback = call.params.session.flow.playback;
    if (!playback || playback->item >= playback->media.size()) return absl::OkStatus();
    const DoneOnce::Turn once(done_, call.ctx, OnceKey(call, "playback", playback->id));
    ABSL_RETURN_IF_ERROR(once.status());
    if (once.done()) return absl::OkStatus();
    const std::string path = PlaybackPath(*playback);
    // One of a bridge may have been begun by a member that another controller resumed.
    if (!call.params.first || playback->on_bridge) {
      ABSL_ASSIGN_OR_RETURN(const json running, call.Get(path, "looking for the playback"));
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
                  : call.ChannelPath("");
    const std::string key = call.params.instance + '\n' + playback->id;
    if (playback->paused) Await(key);
    absl::Status status = call.Do("POST", target + "/play/" + EscapeUri(playback->id), body,
                                  "going on with the playback");
    if (status.ok() && playback->paused) status = Pause(call, path, key);
    if (playback->paused) Forget(key);
    if (status.ok()) once.Done();
    return status;
  }

  absl::Status Pause(const FlowCall& call, const std::string& path, const std::string& key) {
    {
      std::unique_lock lock(mutex_);
      const auto began = [&] { return awaited_[key]; };
      if (!WaitFor(changed_, lock, call.ctx, began))
        return Ended(call.ctx, "the playback did not begin");
    }
    return PauseNow(call, path);
  }

  absl::Status PauseNow(const FlowCall& call, const std::string& path) {
    for (;;) {
      ABSL_ASSIGN_OR_RETURN(const AriReply reply,
                            call.Ask("POST", path + "/control", {{"operation", "pause"}}));
      if (reply.http_status == 404) return absl::OkStatus();  // it was at its end
      const absl::Status status = ToFlowStatus(reply, "pausing the playback");
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
  static std::string OnceKey(const FlowCall& call, const char* what, const std::string& name) {
    return absl::StrFormat("%s\n%s\n%s\n%d", call.params.instance, what, name,
                           call.params.died_at.time_since_epoch().count());
  }

  void Warn(const char* event, const FlowCall& call, const absl::Status& why) {
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
  FlowBridges bridges_{done_};
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
