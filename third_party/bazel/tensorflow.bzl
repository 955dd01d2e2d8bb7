"""The TensorFlow that is installed, as a Bazel repository.

The interpreter that runs the tests is the one that TensorFlow is found with: what
PYTHON_BIN_PATH names, else the checkout's .venv, else python3. It is asked when a
Bazel server starts; `bazel sync --configure` asks again, say after an upgrade.
"""

_QUESTION = """
import json, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
print(json.dumps({
    "version": tf.version.VERSION,
    "include": tf.sysconfig.get_include(),
    "lib": tf.sysconfig.get_lib(),
    "compile_flags": tf.sysconfig.get_compile_flags(),
    "link_flags": tf.sysconfig.get_link_flags(),
}))
"""

_BUILD = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

package(default_visibility = ["//visibility:public"])

exports_files(["_op_library.json"])

cc_library(
    name = "framework",
    srcs = [{library}],
    hdrs = glob(["include/**"]),
    includes = ["include"],
)

py_runtime(
    name = "python",
    interpreter_path = {python},
    python_version = "PY3",
)

py_runtime_pair(
    name = "python_pair",
    py3_runtime = ":python",
)

toolchain(
    name = "python_toolchain",
    toolchain = ":python_pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _interpreter(repository_ctx):
    named = repository_ctx.os.environ.get("PYTHON_BIN_PATH")
    if named:
        if not named.startswith("/"):
            fail("PYTHON_BIN_PATH is {}, but must be an absolute path".format(named))
        return repository_ctx.path(named)
    checkout = repository_ctx.path(Label("//:WORKSPACE")).dirname
    in_venv = checkout.get_child(".venv").get_child("bin").get_child("python")
    return in_venv if in_venv.exists else repository_ctx.which("python3")

def _installed_tensorflow_impl(repository_ctx):
    python = _interpreter(repository_ctx)
    if not python:
        fail("no python3 was found: type `make`, or name one in PYTHON_BIN_PATH")
    answer = repository_ctx.execute([python, "-c", _QUESTION])
    if answer.return_code != 0:
        fail(("{} cannot import TensorFlow: type `make`, or name another " +
              "interpreter in PYTHON_BIN_PATH\n{}").format(python, answer.stderr))
    found = json.decode(answer.stdout.strip().split("\n")[-1])
    library = [
        flag[len("-l:"):]
        for flag in found["link_flags"]
        if flag.startswith("-l:")
    ][0]
    repository_ctx.symlink(found["include"], "include")
    repository_ctx.symlink(found["lib"] + "/" + library, library)
    repository_ctx.file(
        "BUILD",
        _BUILD.format(library = repr(library), python = repr(str(python))),
    )
    repository_ctx.file("flags.bzl", "TENSORFLOW_COPTS = {}\n".format([
        flag
        for flag in found["compile_flags"]
        if not flag.startswith("-I")
    ]))
    repository_ctx.file(
        "_op_library.json",
        json.encode({"tensorflow": found["version"]}) + "\n",
    )

installed_tensorflow = repository_rule(
    implementation = _installed_tensorflow_impl,
    environ = ["PATH", "PYTHON_BIN_PATH"],
    configure = True,
    local = True,
)
