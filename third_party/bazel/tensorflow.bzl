"""The TensorFlow of the checkout's .venv as a Bazel repository.

A Bazel server asks it once; `bazel sync --configure` asks again, say after an upgrade.
"""

_QUESTION = """
import json
from tensorflow import sysconfig
print(json.dumps([
    sysconfig.get_include(),
    sysconfig.get_compile_flags(),
    sysconfig.get_link_flags(),
]))
"""

_BUILD = """
cc_library(
    name = "framework",
    srcs = ["{}"],
    hdrs = glob(["include/**"]),
    includes = ["include"],
    visibility = ["//visibility:public"],
)
"""

def _installed_tensorflow_impl(repository_ctx):
    checkout = repository_ctx.path(Label("//:WORKSPACE")).dirname
    python = checkout.get_child(".venv").get_child("bin").get_child("python")
    answer = repository_ctx.execute([python, "-c", _QUESTION])
    if answer.return_code != 0:
        fail("{} cannot import TensorFlow: type `make`\n{}".format(python, answer.stderr))
    include, compile_flags, link_flags = json.decode(answer.stdout.splitlines()[-1])
    folder, library = [flag[2:].lstrip(":") for flag in link_flags]
    repository_ctx.symlink(include, "include")
    repository_ctx.symlink(folder + "/" + library, library)
    repository_ctx.file("BUILD", _BUILD.format(library))
    copts = [flag for flag in compile_flags if not flag.startswith("-I")]
    repository_ctx.file("flags.bzl", "TENSORFLOW_COPTS = {}\n".format(copts))

installed_tensorflow = repository_rule(
    implementation = _installed_tensorflow_impl,
    configure = True,
    local = True,
)
