// SPDX-License-Identifier: Apache-2.0
#include "sipheal/conformance/flow_resumer.h"

#include <algorithm>

#include "base/status_macros.h"
#include "conformance/check.h"

namespace sipheal::inline v0_1::conformance {
namespace {

using ResumeParams = FlowResumer::ResumeParams;

// `count` recovered sessions of one call, each in the same mixing bridge when they died.
absl::StatusOr<std::vector<ResumeParams>> NewGroup(FlowResumerHarness& harness, int count,
                                                   const std::string& bridge) {
  std::vector<ResumeParams> group;
  for (int i = 0; i < count; ++i) {
    ABSL_ASSIGN_OR_RETURN(ResumeParams one, harness.NewRecovered());
    one.session.group = "group-" + bridge;
    one.session.flow.bridge = BridgeMembership{.id = bridge, .type = "mixing"};
    group.push_back(std::move(one));
  }
  return group;
}

// The partners of each: those of the group that are up, all of them here.
void Introduce(std::vector<ResumeParams>& group) {
  for (ResumeParams& one : group) {
    for (const ResumeParams& other : group) {
      if (other.channel_id == one.channel_id) continue;
      one.partners.push_back({other.session.id, other.instance, other.channel_id});
    }
  }
}

absl::Status AllInOneBridge(FlowResumerHarness& harness, const std::vector<ResumeParams>& group) {
  std::set<std::string> expected;
  for (const ResumeParams& one : group) expected.insert(one.channel_id);
  for (const ResumeParams& one : group) {
    ABSL_ASSIGN_OR_RETURN(const std::set<std::string> members, harness.BridgeOf(one.channel_id));
    SIPHEAL_REQUIRE(members == expected, "a channel is in a bridge of %d instead of %d",
                    members.size(), expected.size());
  }
  return absl::OkStatus();
}

absl::Status ManySessionsAtOnce(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  std::vector<std::vector<ResumeParams>> groups;
  for (int i = 0; i < 4; ++i) {
    ABSL_ASSIGN_OR_RETURN(auto group,
                          NewGroup(harness, 2, absl::StrFormat("conformance-at-once-%d", i)));
    Introduce(group);
    groups.push_back(std::move(group));
  }
  ABSL_RETURN_IF_ERROR(OnThreads(8, [&](int thread) -> absl::Status {
    const ResumeParams& one =
        groups[static_cast<std::size_t>(thread % 4)][static_cast<std::size_t>(thread / 4)];
    SIPHEAL_REQUIRE_OK(resumer->Accept(one.session));
    SIPHEAL_REQUIRE_OK(resumer->Resume({}, one));
    return absl::OkStatus();
  }));
  for (const auto& group : groups) ABSL_RETURN_IF_ERROR(AllInOneBridge(harness, group));
  return absl::OkStatus();
}

absl::Status OverContextEndsAtOnce(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  ABSL_ASSIGN_OR_RETURN(const auto group, NewGroup(harness, 1, "conformance-over"));
  Canceller canceller;
  canceller.Cancel();
  SIPHEAL_REQUIRE_CODE(resumer->Resume(OverContext(), group[0]),
                       absl::StatusCode::kDeadlineExceeded);
  SIPHEAL_REQUIRE_CODE(resumer->Resume(canceller.Context(), group[0]),
                       absl::StatusCode::kCancelled);
  return absl::OkStatus();
}

absl::Status BlockedServerEndsInTime(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  ABSL_ASSIGN_OR_RETURN(const auto group, NewGroup(harness, 1, "conformance-blocked"));
  ABSL_RETURN_IF_ERROR(harness.BlockInstance());
  const absl::Status result =
      EndsInTime("Resume", [&](const CallContext& ctx) { return resumer->Resume(ctx, group[0]); });
  ABSL_RETURN_IF_ERROR(harness.UnblockInstance());
  return result;
}

// Makes a session what the Healer hands over the first time.
absl::Status MakeFirst(FlowResumerHarness& harness, FlowResumer& resumer, ResumeParams& params) {
  params.first = true;
  return harness.BearWith(params.channel_id, resumer.Prepare(params.session, params.died_at));
}

absl::Status DoublesNothing(FlowResumerHarness& harness, const std::string& bridge, bool first) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  ABSL_ASSIGN_OR_RETURN(auto group, NewGroup(harness, 2, bridge));
  ABSL_ASSIGN_OR_RETURN(ResumeParams alone, harness.NewRecovered());
  alone.session.flow.playback = Playback{
      .id = bridge + "-playback", .media = {harness.Sound()}, .item_started = alone.died_at};
  Introduce(group);
  group.push_back(alone);
  for (ResumeParams& one : group) {
    if (first) ABSL_RETURN_IF_ERROR(MakeFirst(harness, *resumer, one));
    SIPHEAL_REQUIRE_OK(resumer->Resume({}, one));
    one.first = false;
  }
  // By this controller again, and by another one.
  ABSL_ASSIGN_OR_RETURN(const auto second, harness.Make());
  for (const ResumeParams& one : group) {
    // What goes on already is not waited for.
    const CallContext ctx = CallContext::WithTimeout(std::chrono::seconds(5));
    SIPHEAL_REQUIRE_OK(resumer->Resume(ctx, one));
    SIPHEAL_REQUIRE_OK(second->Resume(ctx, one));
  }
  ABSL_ASSIGN_OR_RETURN(const int playbacks, harness.Playbacks(alone.channel_id));
  SIPHEAL_REQUIRE(playbacks == 1, "after three Resumes %d playbacks run", playbacks);
  group.pop_back();
  return AllInOneBridge(harness, group);
}

absl::Status ResumingTwiceDoublesNothing(FlowResumerHarness& harness) {
  return DoublesNothing(harness, "conformance-twice", /*first=*/false);
}
absl::Status ResumingAfterTheFirstTimeDoublesNothing(FlowResumerHarness& harness) {
  return DoublesNothing(harness, "conformance-after-first", /*first=*/true);
}

absl::Status EndsInOneBridge(FlowResumerHarness& harness, const std::string& bridge, bool first) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  for (int order = 0; order < 3; ++order) {
    ABSL_ASSIGN_OR_RETURN(auto group,
                          NewGroup(harness, 3, absl::StrFormat("%s-%d", bridge, order)));
    std::rotate(group.begin(), group.begin() + order, group.end());
    // Each comes when it comes: its partners are those before it, and it waits for none.
    for (std::size_t i = 0; i < group.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        group[i].partners.push_back({group[j].session.id, group[j].instance, group[j].channel_id});
      }
      if (first) ABSL_RETURN_IF_ERROR(MakeFirst(harness, *resumer, group[i]));
      const absl::Status resumed =
          resumer->Resume(CallContext::WithTimeout(std::chrono::seconds(5)), group[i]);
      SIPHEAL_REQUIRE(resumed.ok(), "Resume of member %d of a group gave \"%s\"", i,
                      resumed.ToString());
    }
    ABSL_RETURN_IF_ERROR(AllInOneBridge(harness, group));
  }
  return absl::OkStatus();
}

absl::Status AGroupEndsInOneBridge(FlowResumerHarness& harness) {
  return EndsInOneBridge(harness, "conformance-group", /*first=*/false);
}
absl::Status AGroupResumedForTheFirstTimeEndsInOneBridge(FlowResumerHarness& harness) {
  return EndsInOneBridge(harness, "conformance-first", /*first=*/true);
}

// All at the same moment, when none of them sees another's bridge before it makes its own.
absl::Status AGroupResumedAtOnceEndsInOneBridge(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  ABSL_ASSIGN_OR_RETURN(auto group, NewGroup(harness, 3, "conformance-moment"));
  Introduce(group);
  for (ResumeParams& one : group) ABSL_RETURN_IF_ERROR(MakeFirst(harness, *resumer, one));
  ABSL_RETURN_IF_ERROR(OnThreads(3, [&](int thread) -> absl::Status {
    const CallContext ctx = CallContext::WithTimeout(std::chrono::seconds(5));
    ResumeParams& one = group[static_cast<std::size_t>(thread)];
    absl::Status resumed = resumer->Resume(ctx, one);
    // FR-5 grants another try.
    if (absl::IsUnavailable(resumed)) {
      one.first = false;
      resumed = resumer->Resume(ctx, one);
    }
    SIPHEAL_REQUIRE(resumed.ok(), "Resume of member %d of a group gave \"%s\"", thread,
                    resumed.ToString());
    return absl::OkStatus();
  }));
  return AllInOneBridge(harness, group);
}

absl::Status OneThatWasInNoBridgeIsJoinedToNone(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  for (std::size_t turn = 0; turn < 3; ++turn) {
    ABSL_ASSIGN_OR_RETURN(auto group,
                          NewGroup(harness, 2, absl::StrFormat("conformance-aside-%d", turn)));
    ABSL_ASSIGN_OR_RETURN(ResumeParams aside, harness.NewRecovered());
    aside.session.group = group[0].session.group;
    std::vector<ResumeParams> all = group;
    all.insert(all.begin() + static_cast<std::ptrdiff_t>(turn), aside);
    Introduce(all);
    for (const ResumeParams& one : all) {
      SIPHEAL_REQUIRE_OK(resumer->Resume(CallContext::WithTimeout(std::chrono::seconds(5)), one));
    }
    ABSL_RETURN_IF_ERROR(AllInOneBridge(harness, group));
    ABSL_ASSIGN_OR_RETURN(const auto members, harness.BridgeOf(aside.channel_id));
    SIPHEAL_REQUIRE(members.empty(), "a session that was in no bridge is in one of %d now",
                    members.size());
  }
  return absl::OkStatus();
}

absl::Status AnUnreachableServerMayBeTriedAgain(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  ABSL_ASSIGN_OR_RETURN(auto group, NewGroup(harness, 2, "conformance-again"));
  Introduce(group);
  ABSL_RETURN_IF_ERROR(harness.BreakConnection());
  const absl::Status broken =
      resumer->Resume(CallContext::WithTimeout(std::chrono::seconds(10)), group[0]);
  ABSL_RETURN_IF_ERROR(harness.HealConnection());
  SIPHEAL_REQUIRE_CODE(broken, absl::StatusCode::kUnavailable);
  for (const ResumeParams& one : group) SIPHEAL_REQUIRE_OK(resumer->Resume({}, one));
  return AllInOneBridge(harness, group);
}

absl::Status AcceptReturnsAtOnce(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  ABSL_ASSIGN_OR_RETURN(const auto group, NewGroup(harness, 1, "conformance-accept"));
  // With a server that does not answer, where the harness can bring that about: it is not asked.
  const bool blocked = harness.BlockInstance().ok();
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status accepted = resumer->Accept(group[0].session);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begin);
  if (blocked) ABSL_RETURN_IF_ERROR(harness.UnblockInstance());
  SIPHEAL_REQUIRE(took < kGrace, "Accept took %d ms", took.count());
  SIPHEAL_REQUIRE_OK(accepted);
  SIPHEAL_REQUIRE_OK(resumer->Resume({}, group[0]));
  return absl::OkStatus();
}

absl::StatusOr<ResumeParams> NewBusy(FlowResumerHarness& harness, const std::string& bridge) {
  ABSL_ASSIGN_OR_RETURN(auto group, NewGroup(harness, 1, bridge));
  FlowState& flow = group[0].session.flow;
  flow.stasis_args = {"one", "two"};
  flow.muted_in = true;
  flow.playback = Playback{.id = bridge + "-playback",
                           .media = {harness.Sound(), harness.Sound()},
                           .item_started = group[0].died_at - std::chrono::seconds(1)};
  return group[0];
}

absl::Status PrepareReturnsAtOnce(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  ABSL_ASSIGN_OR_RETURN(const ResumeParams one, NewBusy(harness, "conformance-prepare"));
  const bool blocked = harness.BlockInstance().ok();
  const auto begin = std::chrono::steady_clock::now();
  (void)resumer->Prepare(one.session, one.died_at);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begin);
  if (blocked) ABSL_RETURN_IF_ERROR(harness.UnblockInstance());
  SIPHEAL_REQUIRE(took < kGrace, "Prepare took %d ms", took.count());
  return absl::OkStatus();
}

absl::Status PrepareGivesTheSameAgain(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  ABSL_ASSIGN_OR_RETURN(ResumeParams one, NewBusy(harness, "conformance-prepare-again"));
  const FlowResumer::Variables given = resumer->Prepare(one.session, one.died_at);
  SIPHEAL_REQUIRE(resumer->Prepare(one.session, one.died_at) == given,
                  "Prepare called again gave something else");
  // An attempt that failed is followed by another one, long after, with another channel.
  ABSL_RETURN_IF_ERROR(harness.BearWith(one.channel_id, given));
  one.first = true;
  SIPHEAL_REQUIRE_OK(resumer->Resume({}, one));
  SIPHEAL_REQUIRE(resumer->Prepare(one.session, one.died_at) == given,
                  "Prepare called again after a Resume gave something else");
  return absl::OkStatus();
}

absl::Status OddArgumentsDoNotThrow(FlowResumerHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto resumer, harness.Make());
  const std::string odd("\xff\0'\"\r\n/%s{?#", 13);
  return DoesNotThrow("a resumer given odd arguments", [&] {
    const CallContext ctx = CallContext::WithTimeout(std::chrono::seconds(5));
    (void)resumer->Accept({});
    (void)resumer->Prepare({}, {});
    (void)resumer->Resume(ctx, {});
    ResumeParams params;
    params.session.id = odd;
    params.session.flow.stasis_app = odd;
    params.session.flow.bridge = BridgeMembership{odd, odd, odd, odd, true};
    params.session.flow.playback = Playback{.media = {odd, ""}, .item = 99};
    params.session.flow.recordings = {{odd, odd, true, {odd}}};
    params.instance = odd;
    params.channel_id = odd;
    params.partners = {{odd, odd, odd}};
    (void)resumer->Accept(params.session);
    (void)resumer->Prepare(params.session, WallTime::min());
    (void)resumer->Prepare(params.session, WallTime::max());
    (void)resumer->Resume(ctx, params);
    params.first = true;
    (void)resumer->Resume(ctx, params);
  });
}

constexpr Case<FlowResumerHarness> kCases[] = {
    {"FR-1", "ManySessionsAtOnce", "different sessions may be resumed from several threads at once",
     ManySessionsAtOnce},
    {"FR-2", "OverContextEndsAtOnce", "a context that is over gives DeadlineExceeded or Cancelled",
     OverContextEndsAtOnce},
    {"FR-2", "BlockedServerEndsInTime",
     "a server that does not answer costs no more than 100 ms beyond deadline or stop",
     BlockedServerEndsInTime},
    {"FR-3", "ResumingTwiceDoublesNothing", "a flow resumed again is not doubled",
     ResumingTwiceDoublesNothing},
    {"FR-3", "ResumingAfterTheFirstTimeDoublesNothing",
     "a flow resumed as the first time and then again is not doubled",
     ResumingAfterTheFirstTimeDoublesNothing},
    {"FR-4", "AGroupEndsInOneBridge",
     "sessions of one group that were in a bridge end in one, in whatever order they come",
     AGroupEndsInOneBridge},
    {"FR-4", "AGroupResumedForTheFirstTimeEndsInOneBridge",
     "so they do when each is resumed as the first time",
     AGroupResumedForTheFirstTimeEndsInOneBridge},
    {"FR-4", "AGroupResumedAtOnceEndsInOneBridge", "so they do when all are resumed at once",
     AGroupResumedAtOnceEndsInOneBridge},
    {"FR-4", "OneThatWasInNoBridgeIsJoinedToNone",
     "a session of the group that was in no bridge is joined to none",
     OneThatWasInNoBridgeIsJoinedToNone},
    {"FR-5", "AnUnreachableServerMayBeTriedAgain", "a server out of reach is Unavailable",
     AnUnreachableServerMayBeTriedAgain},
    {"FR-6", "AcceptReturnsAtOnce", "Accept does no I/O and returns at once", AcceptReturnsAtOnce},
    {"FR-7", "OddArgumentsDoNotThrow", "no exception leaves a method", OddArgumentsDoNotThrow},
    {"FR-8", "PrepareReturnsAtOnce", "Prepare does no I/O and returns at once",
     PrepareReturnsAtOnce},
    {"FR-8", "PrepareGivesTheSameAgain", "Prepare gives the same for the same arguments",
     PrepareGivesTheSameAgain},
};

}  // namespace

FlowResumerHarness::~FlowResumerHarness() = default;
absl::Status FlowResumerHarness::BearWith(const std::string&,
                                          const FlowResumer::Variables& variables) {
  if (variables.empty()) return absl::OkStatus();
  return absl::UnimplementedError("the harness cannot give a channel variables at its birth");
}
absl::Status FlowResumerHarness::BreakConnection() {
  return absl::UnimplementedError("the harness cannot break the connection");
}
absl::Status FlowResumerHarness::HealConnection() { return absl::OkStatus(); }
absl::Status FlowResumerHarness::BlockInstance() {
  return absl::UnimplementedError("the harness cannot block the instance");
}
absl::Status FlowResumerHarness::UnblockInstance() { return absl::OkStatus(); }

std::span<const Case<FlowResumerHarness>> FlowResumerCases() { return kCases; }

}  // namespace sipheal::inline v0_1::conformance
