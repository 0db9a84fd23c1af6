// SPDX-License-Identifier: Apache-2.0
// Which dialogs the facts show, and whose each transaction is.
#include <algorithm>

#include "sip/derive_internal.h"
#include "sip/message_notes.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

bool CreatesDialog(const AnswerFact& answer) { return answer.status > 100 && answer.status < 300; }

}  // namespace

// What there is to look for at all, so that rules about what few calls have cost the others
// nothing.
void Derivation::Survey() {
  methods_seen_ = 0;
  notes_seen_ = 0;
  TextId last = 0;
  const auto look = [&](const MessageFact& fact) {
    if (fact.note == 0 || fact.note == last) return;
    last = fact.note;
    std::string_view notes = NotesOf(fact);
    Note key;
    std::string_view value;
    while (NextNote(&notes, &key, &value)) notes_seen_ |= NoteBit(key);
  };
  for (const Transaction& at : facts_.transactions) {
    methods_seen_ |= 1u << static_cast<unsigned>(at.method);
    if (at.has_request) look(at.request);
    for (const AnswerFact& answer : at.answers) look(answer);
  }
}

// Tags that differ only in letter case are one tag (rule 1.4). The bytes of the side that made it
// are sent; the others are somebody's echo.
void Derivation::CanonicaliseTags() {
  const std::size_t count = std::max<std::size_t>(facts_.tags.size(), 1);
  // Whoever opened or first answered the call made the tag; later copies are echoes. One that no
  // message has which is kept was left behind, or not, by the order in which versions of one came.
  constexpr char kEcho = 1;
  constexpr char kMade = 2;
  std::vector<char>& genuine = work_.genuine;
  genuine.assign(count, 0);
  for (const Transaction& at : facts_.transactions) {
    const bool opens = at.method == Method::kInvite && !(at.has_request && at.request.has_to_tag);
    const auto mark = [&](TagId tag) {
      genuine[tag] = std::max(genuine[tag], opens ? kMade : kEcho);
    };
    mark(at.from_tag);
    if (at.has_request) mark(at.request.to_tag);
    for (const AnswerFact& answer : at.answers) mark(answer.to_tag);
  }
  canonical_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    canonical_[i] = static_cast<TagId>(i);
    if (i == 0 || genuine[i] == 0) continue;
    const std::string_view tag = facts_.Tag(static_cast<TagId>(i));
    std::size_t best = i;
    for (std::size_t j = 1; j < count; ++j) {
      const std::string_view other = facts_.Tag(static_cast<TagId>(j));
      if (j == i || genuine[j] == 0 || !EqualsIgnoreCase(tag, other)) continue;
      tags_differ_in_case_ = true;
      const std::string_view best_tag = facts_.Tag(static_cast<TagId>(best));
      if (genuine[j] != genuine[best] ? genuine[j] > genuine[best] : other < best_tag) best = j;
    }
    canonical_[i] = static_cast<TagId>(best);
  }
}

// An answer to a request that the server did send, but with a branch that it never used: somebody's
// invention (rule 12.4).
bool Derivation::IsStrayAnswer(const Transaction& transaction) const {
  if (!transaction.sent || transaction.has_request || transaction.method == Method::kAck) {
    return false;
  }
  // Forks number their requests alike, so one within another fork is no sign.
  const auto within_another = [&](const Transaction& other) {
    return other.request.has_to_tag &&
           std::none_of(transaction.answers.begin(), transaction.answers.end(),
                        [&](const AnswerFact& answer) {
                          return Canonical(answer.to_tag) == Canonical(other.request.to_tag);
                        });
  };
  return std::any_of(facts_.transactions.begin(), facts_.transactions.end(),
                     [&](const Transaction& other) {
                       return other.sent && other.has_request && other.cseq == transaction.cseq &&
                              other.method == transaction.method &&
                              other.from_tag == transaction.from_tag && !within_another(other);
                     });
}

// A copy of another transaction, seen before it had come to the server: that one has more Vias
// (rule 11.2). One that was answered otherwise came by another way (rule 1.9), and what the server
// did not answer at all may be made up: anybody can write more Vias (rule 12.1).
bool Derivation::IsFarCopy(const Transaction& transaction) const {
  if (transaction.vias == 0) return false;
  const AnswerFact* const answered = transaction.FinalAnswer();
  const auto share_a_tag = [&](const Transaction& at) {
    return std::any_of(at.answers.begin(), at.answers.end(), [&](const AnswerFact& one) {
      return std::any_of(transaction.answers.begin(), transaction.answers.end(),
                         [&](const AnswerFact& other) {
                           return Canonical(one.to_tag) == Canonical(other.to_tag);
                         });
    });
  };
  return std::any_of(facts_.transactions.begin(), facts_.transactions.end(), [&](const auto& at) {
    if (at.vias <= transaction.vias || at.sent != transaction.sent ||
        at.method != transaction.method || at.cseq != transaction.cseq ||
        Canonical(at.from_tag) != Canonical(transaction.from_tag)) {
      return false;
    }
    if (!transaction.answers.empty()) {
      if (at.answers.empty() ? !at.trying : !share_a_tag(at)) return false;
    }
    const AnswerFact* const other = at.FinalAnswer();
    return answered == nullptr || other == nullptr || answered->status == other->status;
  });
}

// The ACK for a 2xx is a transaction of its own; that for a failure has the branch of its INVITE
// and makes no dialog (RFC 3261 17.1.1.3). When nothing of the INVITE was captured, nobody can
// tell.
bool Derivation::AckIsFor2xx(const Transaction& ack, bool* proved) const {
  KnownTransaction& known = Known(ack);
  if (!known.ack_known) {
    known.ack_for_2xx = ReadAck(ack, &known.ack_proved);
    known.ack_known = true;
  }
  *proved = known.ack_proved;
  return known.ack_for_2xx;
}

bool Derivation::ReadAck(const Transaction& ack, bool* proved) const {
  *proved = false;
  bool failed = false;
  for (const Transaction& invite : facts_.transactions) {
    if (invite.method != Method::kInvite || invite.sent != ack.sent || invite.cseq != ack.cseq ||
        invite.from_tag != ack.from_tag) {
      continue;
    }
    const AnswerFact* final = invite.FinalAnswer();
    if (invite.branch == ack.branch) {
      // RFC 2543 peers repeat the branch for a 2xx, too: then the answer decides.
      *proved = final != nullptr && final->status < 300;
      return *proved;
    }
    if (IsStrayAnswer(invite)) continue;
    if (final != nullptr && final->status >= 300) {
      // Unless it was a merged copy of one that did not (rule 1.9): the ACK of a failure has its
      // To tag.
      failed |= !ack.has_request || Canonical(ack.request.to_tag) == Canonical(final->to_tag);
    } else {
      *proved = true;
    }
  }
  return *proved || !failed;
}

bool Derivation::IsOfSeenInvite(const Draft& draft, const Transaction& ack) const {
  for (const auto* list : {&draft.creating, ack.sent ? &draft.own : &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->method == Method::kInvite && at->sent == ack.sent && at->cseq == ack.cseq)
        return true;
    }
  }
  return false;
}

// A request within the dialog that was there before the answer to `invite`, and is none that may be
// sent while it rings.
bool Derivation::ShowsEarlierDialog(const Transaction& other, const Transaction& invite,
                                    const AnswerFact& answer) const {
  if (other.method == Method::kPrack || other.method == Method::kUpdate ||
      other.method == Method::kCancel) {
    return false;
  }
  return Canonical(other.request.to_tag) == Canonical(invite.from_tag) &&
         other.request.first.time_us < answer.first.time_us && !MayBeMadeUp(other, answer);
}

// When the session, target or timer of a transaction came into force. Its 2xx may have been
// captured late, from a retransmission; refreshes follow each other, so their requests tell the
// order. But an INVITE within which others are made is settled by its own answer: the first one,
// one with a reliable provisional answer, and any as to its timer and to the target that it names.
std::int64_t Derivation::SettledAt(const Draft& draft, const Transaction& at,
                                   const MessageFact& answer, bool at_answer) const {
  const bool by_answer =
      (at_answer && at.method == Method::kInvite) ||
      std::find(draft.creating.begin(), draft.creating.end(), &at) != draft.creating.end() ||
      std::any_of(at.answers.begin(), at.answers.end(),
                  [](const AnswerFact& one) { return one.rseq != 0; });
  std::int64_t settled = answer.first.time_us;
  const auto not_after = [&settled](const MessageFact& fact) {
    settled = std::min(settled, fact.first.time_us);
  };
  if (!by_answer && at.has_request) not_after(at.request);
  for (const AnswerFact& one : at.answers) {
    if (!by_answer) not_after(one);
  }
  for (const Transaction* ack : at.sent ? draft.own : draft.theirs) {
    if (ack->method == Method::kAck && ack->cseq == at.cseq && ack->has_request) {
      not_after(ack->request);
    }
  }
  return settled;
}

// This side had sent an INVITE before that opened a call, so the other side did not.
bool Derivation::IsAfterFirstInvite(const Transaction& transaction) const {
  return std::any_of(facts_.transactions.begin(), facts_.transactions.end(), [&](const auto& at) {
    return at.method == Method::kInvite && at.sent == transaction.sent && at.has_request &&
           !at.request.has_to_tag && at.cseq < transaction.cseq &&
           Canonical(at.from_tag) == Canonical(transaction.from_tag);
  });
}

// True for an INVITE that opens a call. When the request was not captured, the other facts decide.
bool Derivation::IsInitial(const Transaction& transaction) const {
  if (transaction.method != Method::kInvite) return false;
  if (transaction.has_request) return !transaction.request.has_to_tag;
  for (const AnswerFact& answer : transaction.answers) {
    if (answer.to_tag == 0) continue;
    const TagId local = Canonical(transaction.sent ? transaction.from_tag : answer.to_tag);
    const TagId remote = Canonical(transaction.sent ? answer.to_tag : transaction.from_tag);
    for (const Transaction& other : facts_.transactions) {
      if (&other == &transaction) continue;
      const bool other_way = other.sent != transaction.sent;
      if (other_way && other.has_request && Canonical(other.from_tag) == Canonical(answer.to_tag) &&
          (other.request.has_to_tag ? ShowsEarlierDialog(other, transaction, answer)
                                    : other.method == Method::kInvite)) {
        // This side answers under a tag that it made for a call of its own.
        return false;
      }
      if (other.method == Method::kInvite && !other.has_request && other_way &&
          other.from_tag != 0 && Canonical(other.from_tag) == Canonical(answer.to_tag) &&
          std::any_of(other.answers.begin(), other.answers.end(),
                      [&](const AnswerFact& earlier) {
                        return CreatesDialog(earlier) &&
                               earlier.first.time_us < answer.first.time_us &&
                               Canonical(earlier.to_tag) == Canonical(transaction.from_tag);
                      }) &&
          (answer.status >= 300 || IsAfterFirstInvite(transaction))) {
        return false;  // answered under tags that the two sides had agreed on before
      }
      if (other.method == Method::kInvite && !other.has_request && other_way &&
          other.from_tag != 0 && Canonical(other.from_tag) == Canonical(answer.to_tag) &&
          std::any_of(other.answers.begin(), other.answers.end(), [&](const AnswerFact& fork) {
            return CreatesDialog(fork) && fork.to_tag != 0 &&
                   Canonical(fork.to_tag) != Canonical(transaction.from_tag);
          })) {
        // A fork of the call that this side made answers with another tag; an INVITE within the
        // dialog would be answered with its own (RFC 3261 8.2.6.2).
        return false;
      }
      if (other.method == Method::kInvite && !other.has_request && !other_way &&
          other.cseq < transaction.cseq && other.from_tag == transaction.from_tag &&
          std::any_of(other.answers.begin(), other.answers.end(), [&](const AnswerFact& earlier) {
            return earlier.status >= 200 && earlier.status < 300 &&
                   Canonical(earlier.to_tag) == Canonical(answer.to_tag);
          })) {
        return false;  // the call had been answered before
      }
      if (other.method == Method::kInvite && other.has_request && !other.request.has_to_tag) {
        // Another INVITE is known to have opened this dialog.
        for (const AnswerFact& opening : other.answers) {
          if (!CreatesDialog(opening)) continue;
          const TagId other_local = Canonical(other.sent ? other.from_tag : opening.to_tag);
          const TagId other_remote = Canonical(other.sent ? opening.to_tag : other.from_tag);
          if (other_local == local && other_remote == remote &&
              (other.sent != transaction.sent || other.cseq < transaction.cseq)) {
            return false;
          }
        }
      } else if (other.sent == transaction.sent && other.cseq < transaction.cseq &&
                 other.has_request && other.request.has_to_tag &&
                 Canonical(other.from_tag) == Canonical(transaction.from_tag) &&
                 Canonical(other.request.to_tag) == Canonical(answer.to_tag)) {
        // The dialog was there before this INVITE.
        return false;
      }
    }
  }
  return true;
}

void Derivation::AddPair(TagId local, TagId remote) {
  local = Canonical(local);
  remote = Canonical(remote);
  if (local == 0 && remote == 0) return;
  for (const Draft& draft : drafts_) {
    if (draft.local == local && draft.remote == remote) return;
  }
  drafts_.Add().Begin(local, remote);
}

void Derivation::FindDialogs() {
  for (const Transaction& at : facts_.transactions) {
    if (at.method == Method::kCancel || IsStrayAnswer(at)) continue;
    auto add = [&](TagId to_tag) {
      if (at.sent) {
        AddPair(at.from_tag, to_tag);
      } else {
        AddPair(to_tag, at.from_tag);
      }
    };
    if (at.method == Method::kInvite && (!at.has_request || !at.request.has_to_tag)) {
      for (const AnswerFact& answer : at.answers) {
        if (CreatesDialog(answer) && (answer.to_tag != 0 || answer.status >= 200)) {
          add(answer.to_tag);
        }
      }
      continue;
    }
    // A NOTIFY opens a dialog by itself (RFC 6665 4.4.1); others belong to one that is there.
    if (!IsInviteUsage(at.method) && at.method != Method::kNotify) continue;
    const bool accepted = std::any_of(
        at.answers.begin(), at.answers.end(),
        [](const AnswerFact& answer) { return answer.status >= 200 && answer.status < 300; });
    if (!at.has_request) {
      for (const AnswerFact& answer : at.answers) {
        if (answer.status >= 200 && answer.status < 300 && answer.to_tag != 0) add(answer.to_tag);
      }
      continue;
    }
    if (!at.request.has_to_tag || at.from_tag == 0) continue;
    bool ack_proved = false;
    if (at.method == Method::kAck && !AckIsFor2xx(at, &ack_proved)) continue;
    if (at.method == Method::kNotify && !accepted) continue;
    // The server's own word, or the peer's when the server agreed to it.
    if (at.sent || accepted || (at.method == Method::kAck && ack_proved)) add(at.request.to_tag);
  }
  for (const Floor& floor : facts_.floors) {
    if (floor.sent) {
      AddPair(floor.from_tag, floor.to_tag);
    } else {
      AddPair(floor.to_tag, floor.from_tag);
    }
  }
}

// A request within the dialog was sent before that time.
bool Derivation::WasThereBefore(const Draft& draft, std::int64_t time_us) const {
  return std::any_of(facts_.transactions.begin(), facts_.transactions.end(), [&](const auto& at) {
    if (!at.has_request || !at.request.has_to_tag || at.request.first.time_us >= time_us ||
        at.method == Method::kAck || at.method == Method::kCancel) {
      return false;
    }
    const TagId from = Canonical(at.from_tag);
    const TagId to = Canonical(at.request.to_tag);
    return at.sent ? from == draft.local && to == draft.remote
                   : from == draft.remote && to == draft.local;
  });
}

void Derivation::Assign(Draft& draft) {
  // The latest INVITE under this From tag that may have made the dialog: no answer to it was
  // captured, or it was refused under the dialog's own tags when the dialog was there.
  const Transaction* likely = nullptr;
  for (const Transaction& at : facts_.transactions) {
    if (at.method == Method::kCancel || IsFarCopy(at)) continue;
    if (IsStrayAnswer(at)) {
      for (const AnswerFact& answer : at.answers) {
        if (Canonical(answer.to_tag) != draft.remote || Canonical(at.from_tag) != draft.local)
          continue;
        ++draft.state->quarantined;
        draft.state->conflicts.push_back(
            {Field::kRemoteTarget, RefOf(answer), std::string(facts_.Text(answer.contact)),
             "an answer with a branch that the server never used", false});
      }
      continue;
    }
    const TagId from = Canonical(at.from_tag);
    if (from != (at.sent ? draft.local : draft.remote)) continue;
    const TagId to = at.sent ? draft.remote : draft.local;
    if (IsInitial(at)) {
      const bool creates =
          std::any_of(at.answers.begin(), at.answers.end(), [&](const AnswerFact& answer) {
            return CreatesDialog(answer) && Canonical(answer.to_tag) == to;
          });
      // Its 2xx was lost, and the ACK shows that there was one (rules 2.13, 6.9).
      const AnswerFact* refusal = at.FinalAnswer();
      const bool acknowledged =
          !creates && at.has_request && (refusal == nullptr || refusal->status < 300) &&
          std::any_of(
              facts_.transactions.begin(), facts_.transactions.end(), [&](const Transaction& ack) {
                bool proved = false;
                return ack.method == Method::kAck && ack.sent == at.sent && ack.cseq == at.cseq &&
                       ack.from_tag == at.from_tag && ack.request.has_to_tag &&
                       Canonical(ack.request.to_tag) == to && AckIsFor2xx(ack, &proved) && proved;
              });
      if (creates || acknowledged) {
        draft.creating.push_back(&at);
      } else {
        if (at.sent) {
          draft.attempts.push_back(&at);
        } else if (refusal != nullptr && Canonical(refusal->to_tag) == to) {
          draft.refused.push_back(&at);
        }
        if (at.has_request && (likely == nullptr || likely->cseq < at.cseq) &&
            (refusal == nullptr ||
             (Canonical(refusal->to_tag) == to && WasThereBefore(draft, refusal->first.time_us)))) {
          likely = &at;
        }
      }
      continue;
    }
    bool ours;
    if (at.has_request) {
      ours = at.request.has_to_tag && Canonical(at.request.to_tag) == to;
    } else {
      ours = std::any_of(at.answers.begin(), at.answers.end(),
                         [&](const AnswerFact& answer) { return Canonical(answer.to_tag) == to; });
    }
    if (!ours) continue;
    bool proved = false;
    if (at.method == Method::kAck && !AckIsFor2xx(at, &proved)) {
      if (at.sent) draft.attempts.push_back(&at);  // it shows a number that was used
      continue;
    }
    (at.sent ? draft.own : draft.theirs).push_back(&at);
  }
  // A merged copy of the INVITE that was answered is not another one (rule 1.9).
  const auto answered = [&](const Transaction* at) {
    return std::any_of(at->answers.begin(), at->answers.end(), [&](const AnswerFact& answer) {
      return Canonical(answer.to_tag) == AnswerTag(draft, *at);
    });
  };
  if (draft.creating.size() > 1) {
    const std::vector<const Transaction*> openings = draft.creating;
    std::erase_if(draft.creating, [&](const Transaction* at) {
      return !answered(at) &&
             std::any_of(openings.begin(), openings.end(), [&](const Transaction* other) {
               return other->cseq == at->cseq && other->sent == at->sent && answered(other);
             });
    });
  }
  DropSentToItself(draft);
  ChooseBranch(draft);
  // A dialog that goes on was opened by something; what was lost were the answers.
  if (draft.creating.empty() && likely != nullptr) draft.creating.push_back(likely);
  draft.assumed = !draft.creating.empty() &&
                  std::none_of(draft.creating.begin(), draft.creating.end(),
                               [](const Transaction* at) { return at->has_request; });
}

const AnswerFact* Derivation::FindFinal(const Draft& draft, const Transaction& transaction) const {
  const TagId tag = AnswerTag(draft, transaction);
  const AnswerFact* best = nullptr;
  auto better = [](const AnswerFact& a, const AnswerFact& b) {
    const bool a_ok = a.status < 300;
    const bool b_ok = b.status < 300;
    return a_ok != b_ok ? a_ok : a.first.Better(b.first);
  };
  for (const AnswerFact& answer : transaction.answers) {
    if (answer.status < 200) continue;
    // A failure may come from a proxy, which has no tag of the dialog; a success may not.
    const bool same_tag = Canonical(answer.to_tag) == tag;
    if (answer.status < 300 && !same_tag) continue;
    if (best == nullptr || better(answer, *best)) best = &answer;
  }
  return best;
}

}  // namespace sipheal::inline v0_1::sip
