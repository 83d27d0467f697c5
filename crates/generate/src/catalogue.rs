//! What the input holds, by what the transformation needs it for.

use std::sync::LazyLock;

use nacre_findings::{Finding, codes::generate as codes};
use nacre_fnconfig::Confidential;
use nacre_krm::Path;
use nacre_workload::kinds::{CustomKind, Kinds, TemplatePath};
use nacre_workload::names::{MANIFEST_CONFIG_MAP, MANIFEST_KEY, RUNTIME_CLASS};

use crate::place::{Place, Text};
use crate::resolve::Referents;
use crate::services::Services;
use crate::unclaimed;

pub(crate) static API_VERSION: LazyLock<Path> = LazyLock::new(|| Path::root().key("apiVersion"));
pub(crate) static KIND: LazyLock<Path> = LazyLock::new(|| Path::root().key("kind"));
static NAME: LazyLock<Path> = LazyLock::new(|| Path::root().key("metadata").key("name"));
static NAMESPACE: LazyLock<Path> = LazyLock::new(|| Path::root().key("metadata").key("namespace"));

/// An object that has pods.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    /// As written; empty reads as absent.
    pub(crate) namespace: Option<String>,
    pub(crate) path: &'a TemplatePath,
}

/// The input, filed.
pub(crate) struct Catalogue<'a> {
    pub(crate) candidates: Vec<Candidate<'a>>,
    pub(crate) config_maps: Referents<'a>,
    pub(crate) secrets: Referents<'a>,
    pub(crate) service_accounts: Referents<'a>,
    pub(crate) services: Services,
    /// Where an earlier run left the manifest.
    pub(crate) manifest: Option<Place<'a>>,
    pub(crate) findings: Vec<Finding>,
}

impl<'a> Catalogue<'a> {
    /// Looks at every object, at as little of it as possible.
    pub(crate) fn new(texts: &[Text<'a>], kinds: &'a Kinds, config: &'a Confidential) -> Self {
        let mut catalogue = Self {
            candidates: Vec::new(),
            config_maps: Referents::new(config.namespace.as_deref()),
            secrets: Referents::new(config.namespace.as_deref()),
            service_accounts: Referents::new(config.namespace.as_deref()),
            services: Services::default(),
            manifest: None,
            findings: Vec::new(),
        };
        let mut services = Vec::new();
        for (source, text) in texts.iter().enumerate() {
            let mut marked = (None, false);
            for object in text.stream.objects() {
                let Some(document) = text.stream.documents().get(object.document) else {
                    continue;
                };
                if marked.0 != Some(object.document) {
                    let found = document.text().contains(RUNTIME_CLASS);
                    marked = (Some(object.document), found);
                }
                let file = text.file;
                let place = Place {
                    source,
                    object,
                    document,
                    file,
                };
                if marked.1 {
                    let found = unclaimed::find(&place, kinds, config);
                    catalogue.findings.extend(found);
                }
                catalogue.file(place, kinds, config, &mut services);
            }
        }
        catalogue.services = Services::new(services);
        catalogue
    }

    fn file(
        &mut self,
        place: Place<'a>,
        kinds: &'a Kinds,
        config: &Confidential,
        services: &mut Vec<(serde_json::Value, String)>,
    ) {
        let (Some(api_version), Some(kind)) = (place.text(&API_VERSION), place.text(&KIND)) else {
            self.findings.push(
                Finding::error(
                    codes::NOT_AN_OBJECT,
                    "this is not a Kubernetes object: it has no apiVersion and kind",
                )
                .help("remove the document, or leave its file out of the paths")
                .at(place.locate("")),
            );
            return;
        };
        let namespace = || {
            place
                .text(&NAMESPACE)
                .filter(|n| !n.is_empty())
                .map(|n| n.into_owned())
        };
        match (api_version.as_ref(), kind.as_ref()) {
            ("v1", "ConfigMap") => {
                let Some(name) = place.text(&NAME) else {
                    return;
                };
                let manifest = Path::root().key("data").key(MANIFEST_KEY);
                if name.contains(MANIFEST_CONFIG_MAP) && place.text(&manifest).is_some() {
                    self.manifest.get_or_insert(place);
                } else {
                    self.config_maps
                        .add(place.clone(), name.into_owned(), namespace());
                }
            }
            ("v1", "Secret") => {
                let Some(name) = place.text(&NAME) else {
                    return;
                };
                self.secrets
                    .add(place.clone(), name.into_owned(), namespace());
            }
            ("v1", "ServiceAccount") => {
                let Some(name) = place.text(&NAME) else {
                    return;
                };
                self.service_accounts
                    .add(place.clone(), name.into_owned(), namespace());
            }
            ("v1", "Service") => {
                let namespace = effective(namespace().as_deref(), config).to_owned();
                services.extend(place.value(&Path::root()).map(|value| (value, namespace)));
            }
            (nacre_manifest::API_VERSION, nacre_manifest::KIND) => {
                self.manifest.get_or_insert(place);
            }
            (version, _) if is_ours(version) => {}
            (version, kind) => {
                let Some(path) = kinds.template(version, kind) else {
                    return;
                };
                let custom = config
                    .custom_resources
                    .iter()
                    .find(|custom| custom.kind == kind && custom.api_version == version);
                let spec: Result<Path, _> = path.spec_field().parse();
                if let (Some(custom), Ok(spec)) = (custom, spec)
                    && place.keys(&spec).is_empty()
                {
                    let message = format!(
                        "{version} {kind} has no pod template at {}",
                        custom.pod_template
                    );
                    self.findings.push(
                        Finding::error(codes::TEMPLATE_PATH, message)
                            .help("correct customResources[].podTemplate in the configuration")
                            .at(place.locate("")),
                    );
                }
                let candidate = Candidate {
                    api_version: version.to_owned(),
                    kind: kind.to_owned(),
                    name: place.text(&NAME).unwrap_or_default().into_owned(),
                    namespace: namespace(),
                    place,
                    path,
                };
                self.candidates.push(candidate);
            }
        }
    }
}

/// Objects of kpt and our own: configuration of tools, not of the cluster.
pub(crate) fn is_ours(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    group == "kpt.dev" || group == "nacre.dev"
}

/// The namespace an object ends up in.
pub(crate) fn effective<'a>(written: Option<&'a str>, config: &'a Confidential) -> &'a str {
    written
        .or(config.namespace.as_deref())
        .unwrap_or(DEFAULT_NAMESPACE)
}

/// The namespace of objects that name none, by Kubernetes.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// The kinds of Kubernetes and of the configuration; paths that cannot be read are findings.
pub(crate) fn kinds(config: &Confidential, findings: &mut Vec<Finding>) -> Kinds {
    let mut custom = Vec::new();
    for (index, resource) in config.custom_resources.iter().enumerate() {
        match TemplatePath::parse(&resource.pod_template) {
            Some(template) => custom.push(CustomKind {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
                template,
            }),
            None => findings.push(
                Finding::error(
                    codes::TEMPLATE_PATH,
                    format!(
                        "customResources[{index}]: {:?} is not a path",
                        resource.pod_template
                    ),
                )
                .help("write keys joined by dots: spec.template"),
            ),
        }
    }
    Kinds::with_custom(custom)
}
