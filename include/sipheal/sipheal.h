// SPDX-License-Identifier: Apache-2.0
// All of the core: the engine, the five interfaces and the model. Adapters have headers of their
// own.
#pragma once

#include "sipheal/crash_detector.h"
#include "sipheal/flow_resumer.h"
#include "sipheal/healer.h"
#include "sipheal/media_server_driver.h"
#include "sipheal/session_store.h"
#include "sipheal/sip_capture.h"
#include "sipheal/version.h"
