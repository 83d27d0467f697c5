//! NCR09xx: files, streams, the command line, internal errors.

codes! {
    900;
    FILE_UNREADABLE = 901, "File cannot be read",
        "A file or directory named by the user cannot be opened or read.",
        "Check the path and its permissions.";
    FILE_UNWRITABLE = 902, "File cannot be written",
        "An output file cannot be written: a missing directory, permissions, or a full disk. When several files are changed in place, none of them was changed.",
        "Check the path, its permissions and the free space, then run the command again.";
    OUTPUT_CLOSED = 903, "Standard output closed",
        "The program that reads the output stopped before it had all of it. The exit code is not 0, so that half an output is never taken for a whole one.",
        "Look at the program behind the pipe: it ended first.";
    INTERRUPTED = 904, "Interrupted",
        "The command was stopped by a signal. Files that had already been replaced were put back.",
        "Run the command again.";
    INPUT_UNREADABLE = 905, "Standard input cannot be read",
        "Standard input failed, or holds more than the size limit.",
        "Check the program before the pipe; split the input, or raise `NACRE_MAX_INPUT`.";
    NOT_UTF8 = 906, "Not UTF-8",
        "The input is not UTF-8 text.",
        "Convert the file to UTF-8.";
    USAGE = 907, "Wrong use of the command line",
        "Arguments are missing, unknown, or contradict each other.",
        "See `--help` of the program.";
    NO_CONFIGURATION_FILE = 908, "Configuration cannot be found",
        "A configuration, lock or manifest file named explicitly does not exist.",
        "Correct the path, or run `nacre init` to create the configuration.";
    EMPTY_INPUT = 909, "Empty input",
        "There is nothing to work on: standard input holds no document, or no YAML file was found below the paths.",
        "Check the program before the pipe, or the paths.";
    KEY_EXPOSED = 910, "Private key inside a git work tree",
        "The key would be created in a directory that git tracks and no ignore rule covers it.",
        "Add the file to `.gitignore`, or choose a path outside the work tree.";
    KEY_UNUSABLE = 911, "Owner key cannot be used",
        "An owner key file is not a PEM key of the type needed: ECDSA P-384 for workload owners, RSA of at least 2048 bits for seed-share owners.",
        "Name another file, or remove the file so that a new key is made.";
    HELM_HOOKS_HIDDEN = 912, "Helm 3 hides hooks from a post-renderer",
        "Helm 3 does not show hooks and tests to a post-renderer, so a hook with a confidential runtime class would be deployed without a policy.",
        "Use Helm 4, or cover hooks with `helm template ... | nacre generate -`; `nacre check` on the final YAML finds hooks that were missed.";
    WOULD_CHANGE = 913, "Committed output is not what would be generated",
        "`--check` found a difference between the files and what would be generated from them.",
        "Run the same command without `--check` and commit the result.";
    MANIFEST_EDITS_LOST = 914, "Hand edits of the manifest are not carried over",
        "The manifest that is replaced holds edits made by hand, and no previous manifest was named, so the new one does not have them.",
        "Name the old manifest with `--previous`.";
    COLLATERAL_REPORT = 930, "Nothing to look collateral up by",
        "The file is no SNP report, or its certificate cannot be looked up: the chip is masked, the report is of version 2, or a cloud provider's key signed it.",
        "Take the certificate from where the report came from: the host hands it to its guests.";
    COLLATERAL_UNAVAILABLE = 931, "Collateral cannot be had",
        "AMD's key distribution service, or the mirror named, could not be reached, asks to wait, does not know the chip and firmware, or gave something that AMD's keys have not signed.",
        "Wait as long as it asks and run the command again: what is in the directory already is not asked for again. Behind a proxy of your own, name its certificate with `--ca-file`.";
    REPORT_NEVER_ACCEPTED = 932, "Report that no verifier accepts",
        "The guest that the report is of may be debugged or migrated by its host, so its memory is the host's. No reference values allow that.",
        "Start the guest without it, and take the report again.";
    INTERNAL = 970, "Internal error",
        "Something that cannot happen has happened. Nothing was written.",
        "Please report it with the message.";
}
